/** The rows of an export, one by one, parsed; a record that spans pages is joined, up to a limit. */
import { PipelineError } from "../errors.ts";
import type { ManifestHead } from "../pipeline/manifest.ts";
import type { Row } from "../stages/nouns.ts";
import { freeBuffer } from "../workers/free.ts";
import type { ReadOptions } from "./find-run.ts";
import { createCsvReader } from "./csv-reader.ts";
import { parseJsonRecord } from "./parse-record.ts";
import { openExport, type ReadPage } from "./read-pages.ts";
import { createScanner, splitRecords } from "./records.ts";

export { readPages, type ReadPage } from "./read-pages.ts";

export interface ReadExportOptions extends ReadOptions {
  /** The most bytes of one record, joined from its pages; 64 MiB when absent. */
  readonly maxRecordBytes?: number;
}

/** Formats whose records become rows; and who else reads the others, once they are restored. */
const readable: ReadonlySet<string> = new Set(["ndjson", "csv", "json"]);
const otherWays: Readonly<Record<string, string>> = {
  pgtext: "restore it, and PostgreSQL reads it with `COPY … FROM … (FORMAT text)`",
  pgbinary: "restore it, and PostgreSQL reads it with `COPY … FROM … (FORMAT binary)`",
};

const defaultMaxRecordBytes = 64 * 2 ** 20;

/**
 * Gives the rows of the export at `url`, in order: objects by column name. From NDJSON and JSON values are as
 * JSON holds them, numbers beyond a double as `JSON.rawJSON`; from CSV they are texts and null. Of columns with the
 * same name the last is kept; `readPages` loses nothing. Rows come only from authenticated pages, and the walk ends
 * without an error only when the export is whole.
 * @throws PipelineError `integrity-failed`, `key-wrong`, `not-found`, `config-invalid` (a format without rows, a
 * record beyond the limit), or of the destination.
 */
export async function* readExport(
  url: string,
  options: ReadExportOptions = {},
): AsyncGenerator<Row> {
  const { head, pages, close } = await openExport(url, options);
  const { extension } = head.layers;
  const rowsOf = createRowReader(head);
  if (!rowsOf) {
    await close();
    throw new PipelineError(
      "config-invalid",
      `rows cannot be read from ${extension}; expected ndjson, csv or json: ${otherWays[extension] ?? "use readPages or restore"}`,
    );
  }
  const maxBytes = options.maxRecordBytes ?? defaultMaxRecordBytes;
  for await (const content of joinSpans(pages, maxBytes)) {
    for (const row of rowsOf(content)) {
      yield row;
      // A page may hold a hundred thousand rows.
      options.signal?.throwIfAborted();
    }
    freeBuffer(content);
  }
}

/** Joins the pages of a record that is larger than a page; other pages pass as they are. */
async function* joinSpans(
  pages: AsyncIterable<ReadPage>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const { entry, content } of pages) {
    if (entry.span === undefined) {
      yield content;
      continue;
    }
    parts.push(content);
    bytes += content.length;
    if (bytes > maxBytes) {
      throw new PipelineError(
        "config-invalid",
        `${entry.name}: a record is longer than ${maxBytes} bytes; raise maxRecordBytes, or use readPages or restore`,
      );
    }
    if (entry.span !== "last") continue;
    yield Buffer.concat(parts, bytes);
    parts = [];
    bytes = 0;
  }
}

/** Parses whole records page after page. */
function createRowReader(
  head: ManifestHead,
): ((content: Uint8Array) => Generator<Row>) | undefined {
  const { extension } = head.layers;
  if (extension === "csv") {
    const csv = createCsvReader(head);
    return function* rows(content) {
      for (const { names, cells } of csv(content))
        yield Object.fromEntries(names.map((name, index) => [name, cells[index] ?? null]));
    };
  }
  const scanner = readable.has(extension) ? createScanner(head.layers) : undefined;
  if (!scanner) return undefined;
  return function* rows(content) {
    // In a JSON array a record has the bracket or comma before it.
    for (const { text } of splitRecords(scanner, content))
      yield parseJsonRecord(text.replace(/^[[,\s]+/, ""));
  };
}
