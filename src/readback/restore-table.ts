/**
 * An export back into a table of PostgreSQL or SQLite, page by page: each is authenticated, then written in one transaction that also
 * notes it. Stopped and called again, it goes on where it was, and no page is written twice; once all are, it is refused.
 */
import { hash } from "node:crypto";
import { PipelineError } from "../errors.ts";
import { formatBytes } from "../stages/atoms.ts";
import type { Destination } from "../stages/destinations/destination.ts";
import { openDestination } from "../stages/destinations/schemes.ts";
import { manifestName, type ManifestHead } from "../pipeline/manifest.ts";
import type { Manifest } from "../pipeline/read-manifest.ts";
import { createCsvToNdjson } from "./csv-to-ndjson.ts";
import { createScanner } from "./records.ts";
import { restoredBefore } from "./restore-failure.ts";

/** The table that takes the records. */
export interface TableTarget {
  /** `postgres://user@host:port/database` or `sqlite:path` */
  readonly url: string;
  /** As SQL names it. */
  readonly table: string;
  /** Columns of a unique index: rows with the same key are replaced. Rows are appended when absent. */
  readonly key?: readonly string[];
}

const timeoutMillis = 60_000;

/** What became of the records. */
export interface RestoredRows {
  /** Pages that were found written: an earlier call was stopped behind them. */
  readonly pagesBefore: number;
}

/**
 * Writes the records into the table.
 * @throws PipelineError `config-invalid` when they are neither NDJSON nor CSV; `destination-refused` when the table has had all of
 * them; as the destinations `postgres` and `sqlite` do
 */
export async function restoreToTable(
  content: AsyncGenerator<Uint8Array>,
  manifest: Pick<Manifest, "head" | "pages">,
  { url, table, key = [] }: TableTarget,
  signal: AbortSignal,
): Promise<RestoredRows> {
  const { layers, run } = manifest.head;
  const isCsv = layers.extension === "csv";
  if (!isCsv && layers.extension !== "ndjson") {
    throw new PipelineError(
      "config-invalid",
      `restore: a table takes NDJSON or CSV, and the export holds ${layers.extension}; restore it to a folder`,
    );
  }
  const destination = await openDestination(url, { timeoutMillis, rows: { table, key } });
  const folder = `restored/${run}`;
  try {
    const put = (name: string, bytes: Uint8Array) =>
      destination.put(
        { name: `${folder}/${name}`, bytes, sha256: hash("sha256", bytes, "buffer") },
        signal,
      );
    const noted = await lookUp(destination, folder, signal);
    if (noted.isWhole && noted.pieces >= (await countPieces(manifest)))
      throw restoredBefore(run, table, folder);
    const toLines = isCsv
      ? createCsvToNdjson(manifest.head, await destination.textColumns?.(signal))
      : (bytes: Uint8Array) => bytes;
    let number = 0;
    let pagesBefore = 0;
    for await (const { bytes, pages } of wholeRecords(content, layers)) {
      if (number < noted.pieces) pagesBefore += pages;
      await put(`${String(number).padStart(8, "0")}.ndjson`, toLines(bytes));
      number += 1;
    }
    // Says, as an export's manifest does, that all of it is there.
    await put(manifestName, Buffer.from(JSON.stringify({ restored: run })));
    return { pagesBefore };
  } finally {
    await destination.close();
  }
}

/** What earlier calls have noted of this export, of its pieces those in this table. */
interface Noted {
  readonly pieces: number;
  /** Once all of it was in a table, maybe in another one. */
  readonly isWhole: boolean;
}

async function lookUp(
  destination: Destination,
  folder: string,
  signal: AbortSignal,
): Promise<Noted> {
  let pieces = 0;
  let isWhole = false;
  for await (const { name } of destination.list(folder, signal)) {
    if (name === `${folder}/${manifestName}`) isWhole = true;
    else pieces += 1;
  }
  return { pieces, isWhole };
}

/** What `wholeRecords` will make of the pages: one piece of each, or of all that a record goes over. */
async function countPieces({ pages }: Pick<Manifest, "pages">): Promise<number> {
  let count = 0;
  for await (const { span } of pages()) if (span === undefined || span === "last") count += 1;
  return count;
}

/** A record is written in one piece, so it is held in one. */
const recordMostBytes = 16 * 2 ** 20;

/** What is written at once. */
interface Piece {
  readonly bytes: Uint8Array;
  /** Of the export, whose bytes these are. */
  readonly pages: number;
}

/** Pages, and where a record goes on in the next ones, these with them. */
async function* wholeRecords(
  content: AsyncGenerator<Uint8Array>,
  layers: ManifestHead["layers"],
): AsyncGenerator<Piece> {
  const scanner = createScanner(layers);
  let begun: Uint8Array[] = [];
  let bytes = 0;
  for await (const page of content) {
    begun.push(page);
    bytes = begun.length === 1 ? page.length : bytes + page.length;
    let end = 0;
    scanner?.scan(page, (at) => (end = at));
    if (end < page.length) {
      if (bytes <= recordMostBytes) continue;
      throw new PipelineError(
        "config-invalid",
        `restore: a record is longer than ${formatBytes(recordMostBytes)}, and a table takes each in one piece; restore it to a folder`,
      );
    }
    yield { bytes: begun.length === 1 ? page : Buffer.concat(begun), pages: begun.length };
    begun = [];
  }
  if (begun.length > 0) yield { bytes: Buffer.concat(begun), pages: begun.length };
}
