/**
 * The writing half of destinations that speak HTTP: one PUT for each object, and no doubt about what it left behind.
 *
 * `If-None-Match: *` keeps objects from being overwritten. Stores exist that refuse the header and stores that ignore
 * it, so the first put of a session is repeated to see: a store that does not answer 412 is asked (HEAD) before
 * every put from then on.
 */
import { PipelineError } from "../../errors.ts";
import { digestOfParts } from "../durable-file.ts";
import type { StoredObject } from "./destination.ts";
import {
  type Dialect,
  type Parcel,
  type Refusal,
  type Session,
  errorBytesAtMost,
  failureOf,
  refusalOf,
} from "./http-dialect.ts";
import type { HttpAnswer, HttpRequest } from "./http-exchange.ts";
import { getOnce } from "./http-read.ts";
import { segmentsOf } from "./object-names.ts";
import { TryAgain, persist, retryAfterMillis } from "./retry.ts";

/** Stores an object, however often that takes within the session's patience. */
export async function put(
  session: Session,
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  segmentsOf(object.name);
  const parcel = await parcelOf(session.dialect, object);
  await persist(() => putOnce(session, parcel, signal), signal, session.policy);
  if (session.conditional === undefined) await probe(session, parcel, signal);
}

export async function parcelOf(dialect: Dialect, object: StoredObject): Promise<Parcel> {
  const { name, bytes } = object;
  const digest = Buffer.from(object.sha256);
  const headers = {
    "content-length": String(bytes.length),
    "content-type": "application/octet-stream",
    "if-none-match": "*",
    ...(await dialect.headersOf(object)),
  };
  const request: HttpRequest = { method: "PUT", name, body: bytes, headers };
  const checksum = digest.toString("base64");
  return { name, bytes: bytes.length, sha256: digest.toString("hex"), checksum, request };
}

async function putOnce(
  session: Session,
  parcel: Parcel,
  signal: AbortSignal,
  isRoomMade = false,
): Promise<void> {
  const { connection, dialect } = session;
  if (session.conditional !== true && (await isThere(session, parcel, signal))) return;
  const isGuarded = session.conditional !== false;
  const request = isGuarded ? parcel.request : unguarded(parcel.request);
  const answer = await connection.send(request, signal);
  if (isSuccess(answer)) return checkStored(session, parcel, answer, signal);
  const refusal = await refusalOf(dialect, answer);
  // A folder may be missing, and be made by this put or by another beside it.
  if (!isRoomMade && dialect.makeFolders && (refusal.status === 409 || refusal.status === 404)) {
    await dialect.makeFolders(connection, parcel.name, signal);
    return putOnce(session, parcel, signal, true);
  }
  if (dialect.isTaken(refusal)) return settleTaken(session, parcel, refusal, signal);
  // Others may have found out while this one was on its way.
  if (isGuarded && dialect.lacksConditions(refusal)) {
    session.conditional = false;
    return putOnce(session, parcel, signal, isRoomMade);
  }
  throw failureOf(dialect, refusal, "storing an object");
}

/** Asks before a put that the store may not guard. */
async function isThere(session: Session, parcel: Parcel, signal: AbortSignal): Promise<boolean> {
  const found = await compare(session, parcel, signal);
  if (found === "different") throw foreign(parcel.name);
  // Credentials that may only write are fine where the store guards names itself; the put will show.
  if (found === "hidden" && session.conditional === false) throw hidden();
  return found === "equal";
}

function unguarded(request: HttpRequest): HttpRequest {
  const { "if-none-match": _, ...headers } = request.headers ?? {};
  return { ...request, headers };
}

const isSuccess = ({ status }: HttpAnswer) => status >= 200 && status < 300;

/** The name was taken, perhaps by an earlier attempt of ours whose answer was lost. */
async function settleTaken(
  session: Session,
  parcel: Parcel,
  { status }: Refusal,
  signal: AbortSignal,
): Promise<void> {
  const found = await compare(session, parcel, signal);
  if (found === "different") throw foreign(parcel.name);
  if (found === "hidden") throw hidden();
  if (found === "equal") return;
  const isHomeless = status === 409 && session.dialect.makeFolders !== undefined;
  throw new TryAgain(isHomeless ? homeless() : contradiction("was both taken and missing"));
}

/** Success has nothing to say but the right digest; whatever else came with it must be read back. */
async function checkStored(
  session: Session,
  parcel: Parcel,
  answer: HttpAnswer,
  signal: AbortSignal,
): Promise<void> {
  const body = await answer.text(errorBytesAtMost);
  const { dialect } = session;
  const spoken = dialect.codeOf(answer, body) !== "" || body.includes("<Error");
  if (!spoken && dialect.claimOf(answer, parcel) === "right") return;
  const found = await compare(session, parcel, signal);
  if (found === "hidden") throw hidden();
  if (found === "missing")
    throw new TryAgain(contradiction(`was answered with ${answer.status} but not stored`));
  if (found === "different") throw contradiction("was stored with other bytes than were sent");
}

/** What lies under the name. Claims (length, digest, ETag) suffice when they agree; else the bytes are read. */
async function compare(
  session: Session,
  parcel: Parcel,
  signal: AbortSignal,
): Promise<"equal" | "different" | "missing" | "hidden"> {
  const { connection, dialect } = session;
  const headers = dialect.askingHeaders;
  const answer = await connection.send({ method: "HEAD", name: parcel.name, headers }, signal);
  answer.drop();
  const { status } = answer;
  if (status === 404) return "missing";
  if (status === 403) return "hidden";
  // Not every server that gives objects answers to HEAD.
  if (status === 405 || status === 501) return compareBytes(session, parcel, signal);
  if (status !== 200) {
    // An answer to HEAD has no body that could hold a code.
    const waitMillis = retryAfterMillis(answer.header("retry-after"));
    const refusal = { status, code: dialect.codeOf(answer, ""), waitMillis };
    throw failureOf(dialect, refusal, "asking for an object");
  }
  const length = answer.header("content-length");
  if (length !== undefined && length !== String(parcel.bytes)) return "different";
  const found = dialect.compare(answer, parcel);
  return found === "unsure" ? compareBytes(session, parcel, signal) : found;
}

async function compareBytes(
  session: Session,
  { name, sha256 }: Parcel,
  signal: AbortSignal,
): Promise<"equal" | "different" | "missing"> {
  try {
    const digest = await digestOfParts(getOnce(session, name, signal));
    return digest.toString("hex") === sha256 ? "equal" : "different";
  } catch (error) {
    if (error instanceof PipelineError && error.code === "not-found") return "missing";
    throw error;
  }
}

/** Repeats a put that succeeded: a store that honours conditions must refuse it; another has stored it anew. */
async function probe(session: Session, parcel: Parcel, signal: AbortSignal): Promise<void> {
  const { connection, dialect } = session;
  const ask = async () => {
    const answer = await connection.send(parcel.request, signal);
    if (isSuccess(answer)) {
      await checkStored(session, parcel, answer, signal);
      return false;
    }
    const refusal = await refusalOf(dialect, answer);
    if (dialect.isTaken(refusal)) return true;
    if (dialect.lacksConditions(refusal)) return false;
    throw failureOf(dialect, refusal, "asking for conditional writes");
  };
  session.conditional = await persist(ask, signal, session.policy);
}

function contradiction(what: string): PipelineError {
  return new PipelineError(
    "destination-failed",
    `an object ${what}; the store cannot be relied on`,
  );
}

function homeless(): PipelineError {
  return new PipelineError(
    "destination-refused",
    "the web server has no folder for an object, and made none (409); expected the folder above the destination's to be there",
    { details: { status: 409 } },
  );
}

function foreign(name: string): PipelineError {
  return new PipelineError(
    "foreign-object",
    `${name} is taken by other bytes at the destination; nothing was overwritten`,
    { details: { name } },
  );
}

function hidden(): PipelineError {
  return new PipelineError(
    "destination-refused",
    "the store does not say what lies under a name (403); expected credentials that may read objects",
    { details: { status: 403 } },
  );
}
