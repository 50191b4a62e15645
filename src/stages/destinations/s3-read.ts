/**
 * The reading half of destination `s3:`: objects in pieces and listings in pages.
 */
import { PipelineError } from "../../errors.ts";
import type { ListedObject } from "./destination.ts";
import { compareNames, folderSegmentsOf, segmentsOf } from "./object-names.ts";
import { type RetryPolicy, persist } from "./retry.ts";
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

/** Reads an object; only the question is asked again, since what was handed out cannot be taken back. */
export async function* get(
  session: Session,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  segmentsOf(name);
  const answer = await persist(() => ask(session, name, signal), signal, session.policy);
  yield* answer.pieces();
}

/** Reads an object without asking twice, for callers that are themselves repeated. */
export async function* getOnce(
  session: Session,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield* (await ask(session, name, signal)).pieces();
}

async function ask(session: Session, name: string, signal: AbortSignal): Promise<S3Answer> {
  const answer = await session.connection.send({ method: "GET", name }, signal);
  if (answer.status === 200) return answer;
  const refusal = await refusalOf(answer);
  if (refusal.status === 404 && refusal.code !== "NoSuchBucket") {
    throw new PipelineError("not-found", `${name} does not exist at the destination`, {
      details: { name },
    });
  }
  throw failureOf(refusal, "reading an object");
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
