/**
 * An export back into a table of PostgreSQL or SQLite, page by page: each is authenticated, then written in one transaction that also
 * notes it. Stopped and called again, it goes on where it was, and no page is written twice.
 */
import { hash } from "node:crypto";
import { PipelineError } from "../errors.ts";
import { formatBytes } from "../stages/atoms.ts";
import { openDestination } from "../stages/destinations/schemes.ts";
import type { ManifestHead } from "../pipeline/manifest.ts";
import { createCsvToNdjson } from "./csv-to-ndjson.ts";
import { createScanner } from "./records.ts";

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

/**
 * Writes the records into the table.
 * @throws PipelineError `config-invalid` when they are neither NDJSON nor CSV; as the destinations `postgres` and `sqlite` do
 */
export async function restoreToTable(
  content: AsyncGenerator<Uint8Array>,
  head: Pick<ManifestHead, "layers" | "run" | "schema">,
  { url, table, key = [] }: TableTarget,
  signal: AbortSignal,
): Promise<void> {
  const { layers, run } = head;
  const isCsv = layers.extension === "csv";
  if (!isCsv && layers.extension !== "ndjson") {
    throw new PipelineError(
      "config-invalid",
      `restore: a table takes NDJSON or CSV, and the export holds ${layers.extension}; restore it to a folder`,
    );
  }
  const toLines = isCsv ? createCsvToNdjson(head) : (bytes: Uint8Array) => bytes;
  const destination = await openDestination(url, { timeoutMillis, rows: { table, key } });
  try {
    const put = (name: string, bytes: Uint8Array) =>
      destination.put(
        { name: `restored/${run}/${name}`, bytes, sha256: hash("sha256", bytes, "buffer") },
        signal,
      );
    let number = 0;
    for await (const bytes of wholeRecords(content, layers)) {
      await put(`${String(number).padStart(8, "0")}.ndjson`, toLines(bytes));
      number += 1;
    }
    // Says, as an export's manifest does, that all of it is there.
    await put("manifest.json", Buffer.from(JSON.stringify({ restored: run })));
  } finally {
    await destination.close();
  }
}

/** A record is written in one piece, so it is held in one. */
const recordMostBytes = 16 * 2 ** 20;

/** Pages, and where a record goes on in the next ones, these with them. */
async function* wholeRecords(
  content: AsyncGenerator<Uint8Array>,
  layers: ManifestHead["layers"],
): AsyncGenerator<Uint8Array> {
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
    yield begun.length === 1 ? page : Buffer.concat(begun);
    begun = [];
  }
  if (begun.length > 0) yield Buffer.concat(begun);
}
