/** The body of a request as it leaves: at once where it is held, piece by piece where it is read. */
import type { ClientRequest } from "node:http";
import type { Content } from "../durable-file.ts";

/**
 * Sends the body and ends the request. An error of the body's own is the request's.
 * @param restartDeadline called for each piece that has left
 */
export async function sendBody(
  outgoing: ClientRequest,
  body: Content | undefined,
  restartDeadline: () => void,
): Promise<void> {
  if (!body || body instanceof Uint8Array) return void outgoing.end(body);
  try {
    for await (const part of body.read()) {
      await sendPart(outgoing, part);
      restartDeadline();
    }
    outgoing.end();
  } catch (error) {
    outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Returns when the part has left, so that its memory may be used again. */
const sendPart = (outgoing: ClientRequest, part: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    const gone = () => reject(new Error("the connection is gone"));
    outgoing.once("close", gone);
    outgoing.write(part, (error) => {
      outgoing.off("close", gone);
      if (error) reject(error);
      else resolve();
    });
  });
