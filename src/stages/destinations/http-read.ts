/** The reading half of destinations that speak HTTP: objects in pieces, taken up again where they broke off. */
import { PipelineError } from "../../errors.ts";
import { type Session, failureOf, refusalOf } from "./http-dialect.ts";
import type { HttpAnswer } from "./http-exchange.ts";
import { segmentsOf } from "./object-names.ts";
import { TryAgain, persist } from "./retry.ts";

/** What of an object was handed out and cannot be taken back. */
interface Read {
  bytes: number;
  tag: string | undefined;
}

/** Reads an object. Where it breaks off, the rest of the very same object is asked for. */
export async function* get(
  session: Session,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  segmentsOf(name);
  const read: Read = { bytes: 0, tag: undefined };
  for (let left = session.policy.attempts; ; left -= 1) {
    const answer = await persist(() => ask(session, name, signal, read), signal, session.policy);
    read.tag ??= strongTagOf(answer);
    try {
      for await (const piece of answer.pieces()) {
        read.bytes += piece.length;
        yield piece;
      }
      return;
    } catch (error) {
      if (!(error instanceof TryAgain)) throw error;
      if (left <= 1 || read.tag === undefined) throw error.failure;
    }
  }
}

/** Reads an object without asking twice, for callers that are themselves repeated. @throws TryAgain */
export async function* getOnce(
  session: Session,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield* (await ask(session, name, signal)).pieces();
}

async function ask(
  session: Session,
  name: string,
  signal: AbortSignal,
  read?: Read,
): Promise<HttpAnswer> {
  const rest = read !== undefined && read.tag !== undefined && read.bytes > 0;
  const headers = rest ? { range: `bytes=${read.bytes}-`, "if-match": read.tag! } : {};
  const answer = await session.connection.send({ method: "GET", name, headers }, signal);
  if (!rest && answer.status === 200) return answer;
  if (rest && [200, 206, 412, 416].includes(answer.status)) {
    if (answer.header("content-range")?.startsWith(`bytes ${read.bytes}-`)) return answer;
    answer.drop();
    throw brokenOff(name, read);
  }
  const refusal = await refusalOf(session.dialect, answer);
  if (session.dialect.isMissing(refusal)) {
    throw new PipelineError("not-found", `${name} does not exist at the destination`, {
      details: { name },
    });
  }
  throw failureOf(session.dialect, refusal, "reading an object");
}

/** A weak one is kept while an object changes in ways that its server takes for none. */
function strongTagOf(answer: HttpAnswer): string | undefined {
  const tag = answer.header("etag");
  return tag?.startsWith("W/") ? undefined : tag;
}

/** The object is another one by now, or the store does not give parts. */
function brokenOff(name: string, { bytes }: Read): PipelineError {
  return new PipelineError(
    "destination-failed",
    `${name} broke off after ${bytes} bytes, and the store does not give the rest of the same object; try again`,
    { details: { name, received: bytes } },
  );
}
