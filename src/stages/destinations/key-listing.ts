/** Listings that come in pages of keys, as object stores give them: read one after another, and checked to be in order. */
import { PipelineError } from "../../errors.ts";
import type { ListedObject } from "./destination.ts";
import { type Session, failureOf, refusalOf } from "./http-dialect.ts";
import { compareNames, folderSegmentsOf } from "./object-names.ts";
import { persist } from "./retry.ts";

export const keysPerListing = 500;
const listingBytesAtMost = 4 * 2 ** 20;
const emptyPagesAtMost = 100;

/** A part of a listing; `next` says where the rest begins, undefined on the last. */
export interface Listing {
  readonly objects: readonly { readonly key: string; readonly bytes: number }[];
  readonly next: string | undefined;
}

/** How a store is asked for keys below a prefix, and what it answers. */
export interface KeyLister {
  queryOf(prefix: string, next: string | undefined): Readonly<Record<string, string>>;
  /** @throws PipelineError `destination-failed` for anything but a whole listing. */
  listingOf(text: string): Listing;
}

/** Lists by pages of keys, checking that they come in order. */
export async function* list(
  session: Session,
  lister: KeyLister,
  { keyPrefix, folder }: { readonly keyPrefix: string; readonly folder: string },
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  const below = folderSegmentsOf(folder).map((segment) => `${segment}/`);
  const prefix = keyPrefix + below.join("");
  const { called } = session.dialect;
  let last = "";
  let token: string | undefined;
  let emptyPages = 0;
  do {
    const query = lister.queryOf(prefix, token);
    const listing: Listing = lister.listingOf(await askForKeys(session, query, signal));
    for (const { key, bytes } of listing.objects) {
      if (!key.startsWith(prefix) || compareNames(key, last) <= 0) throw outOfOrder(called);
      last = key;
      // A key that ends in `/` is what consoles make to show an empty folder.
      if (!key.endsWith("/")) yield { name: key.slice(keyPrefix.length), bytes };
    }
    // Ascending keys cut every circle of pages, except one of empty pages.
    emptyPages = listing.objects.length === 0 ? emptyPages + 1 : 0;
    if (emptyPages > emptyPagesAtMost) throw outOfOrder(called);
    token = listing.next;
  } while (token !== undefined);
}

const askForKeys = (
  { connection, dialect, policy }: Session,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> =>
  persist(
    async () => {
      const answer = await connection.send({ method: "GET", query }, signal);
      if (answer.status === 200) return answer.text(listingBytesAtMost);
      throw failureOf(dialect, await refusalOf(dialect, answer), "listing objects");
    },
    signal,
    policy,
  );

function outOfOrder(called: string): PipelineError {
  return new PipelineError(
    "destination-failed",
    `${called} listed keys out of order or in a circle; expected ascending keys below the prefix`,
  );
}
