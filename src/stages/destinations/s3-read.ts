/**
 * The reading half of destination `s3:`: objects in pieces and listings in pages.
 */
import { PipelineError } from "../../errors.ts";
import type { ListedObject } from "./destination.ts";
import { compareNames, folderSegmentsOf, segmentsOf } from "./object-names.ts";
import { type RetryPolicy, TryAgain, persist } from "./retry.ts";
import { type Listing, failureOf, listingOf, refusalOf } from "./s3-answers.ts";
import type { S3Answer, S3Connection } from "./s3-request.ts";

const keysPerListing = 500;
const listingBytesAtMost = 4 * 2 ** 20;
const emptyPagesAtMost = 100;

/** What requests of one opened destination share. */
export interface Session {
  readonly connection: S3Connection;
  readonly policy: RetryPolicy;
  /** Whether the store honours `If-None-Match`; undefined until it was seen. */
  conditional: boolean | undefined;
}

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
    read.tag ??= answer.header("etag");
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
): Promise<S3Answer> {
  const rest = read !== undefined && read.tag !== undefined && read.bytes > 0;
  const headers = rest ? { range: `bytes=${read.bytes}-`, "if-match": read.tag! } : {};
  const answer = await session.connection.send({ method: "GET", name, headers }, signal);
  if (!rest && answer.status === 200) return answer;
  if (rest && [200, 206, 412, 416].includes(answer.status)) {
    if (answer.header("content-range")?.startsWith(`bytes ${read.bytes}-`)) return answer;
    answer.drop();
    throw brokenOff(name, read);
  }
  const refusal = await refusalOf(answer);
  if (refusal.status === 404 && refusal.code !== "NoSuchBucket") {
    throw new PipelineError("not-found", `${name} does not exist at the destination`, {
      details: { name },
    });
  }
  throw failureOf(refusal, "reading an object");
}

/** The object is another one by now, or the store does not give parts. */
function brokenOff(name: string, { bytes }: Read): PipelineError {
  return new PipelineError(
    "destination-failed",
    `${name} broke off after ${bytes} bytes, and the store does not give the rest of the same object; try again`,
    { details: { name, received: bytes } },
  );
}

/** Lists by pages of keys, checking that they come in order. */
export async function* list(
  session: Session,
  keyPrefix: string,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  const below = folderSegmentsOf(folder).map((segment) => `${segment}/`);
  const prefix = keyPrefix + below.join("");
  let last = "";
  let token: string | undefined;
  let emptyPages = 0;
  do {
    const listing: Listing = await askForKeys(session, prefix, token, signal);
    for (const { key, bytes } of listing.objects) {
      if (!key.startsWith(prefix) || compareNames(key, last) <= 0) throw outOfOrder();
      last = key;
      // A key that ends in `/` is what consoles make to show an empty folder.
      if (!key.endsWith("/")) yield { name: key.slice(keyPrefix.length), bytes };
    }
    // Ascending keys cut every circle of pages, except one of empty pages.
    emptyPages = listing.objects.length === 0 ? emptyPages + 1 : 0;
    if (emptyPages > emptyPagesAtMost) throw outOfOrder();
    token = listing.next;
  } while (token !== undefined);
}

async function askForKeys(
  session: Session,
  prefix: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<Listing> {
  const query = {
    "list-type": "2",
    "encoding-type": "url",
    "max-keys": String(keysPerListing),
    prefix,
    ...(token === undefined ? {} : { "continuation-token": token }),
  };
  const xml = await persist(
    async () => {
      const answer = await session.connection.send({ method: "GET", query }, signal);
      if (answer.status === 200) return answer.text(listingBytesAtMost);
      throw failureOf(await refusalOf(answer), "listing objects");
    },
    signal,
    session.policy,
  );
  return listingOf(xml);
}

function outOfOrder(): PipelineError {
  return new PipelineError(
    "destination-failed",
    "the S3 endpoint listed keys out of order or in a circle; expected ascending keys below the prefix",
  );
}
