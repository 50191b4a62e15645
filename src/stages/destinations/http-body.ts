/** The body of a request as it leaves: at once where it is held, piece by piece where it is read. */
import type { ClientRequest } from "node:http";
import { partsOf, type Content } from "../durable-file.ts";

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
  let left = body.length;
  try {
    for await (const part of partsOf(body)) {
      left -= part.length;
      // The last part ends the request, so that no answer overtakes its end.
      await sendPart(outgoing, part, left === 0);
      restartDeadline();
    }
    if (body.length === 0) outgoing.end();
  } catch (error) {
    outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Returns when the part has left, so that its memory may be used again. */
const sendPart = (outgoing: ClientRequest, part: Uint8Array, isLast: boolean): Promise<void> =>
  new Promise((resolve, reject) => {
    const gone = () => reject(new Error("the connection is gone"));
    outgoing.once("close", gone);
    const left = (error?: Error | null) => {
      outgoing.off("close", gone);
      if (error) reject(error);
      else resolve();
    };
    if (isLast) outgoing.end(part, left);
    else outgoing.write(part, left);
  });
