/**
 * what: the rows in the files of a tar archive (plain or gzip), or each entry as a row · takes nothing / gives rows
 * holds: what the format of the files holds, the reads under way through gzip and tar, one batch
 * order: as in the archive, and in each file
 * ends: a batch without rows that carries the proof, after the archive's end marker; no matching file is no rows
 * fails: source-bad-data (with archive, entry and line), input-missing, source-refused, source-changed: fix the
 *   file; source-failed: try again
 */
import { matchesGlob } from "node:path";
import * as v from "valibot";
import { text } from "../atoms.ts";
import { copyDialect } from "../formats/csv-dialect.ts";
import type { Column, Row, RowBatch } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { readCsv } from "./csv.ts";
import {
  badData,
  batchBytes,
  digestQuery,
  parserBytes,
  readBytes,
  readInput,
  rowBytes,
} from "./input-file.ts";
import { readJson } from "./json.ts";
import { heldRecord, inputPath, maxRecord, readNdjson } from "./ndjson.ts";
import { type Entry, readEntries } from "./tar-archive.ts";

const config = v.strictObject({
  path: inputPath,
  format: v.pipe(
    v.picklist(["ndjson", "json", "csv", "content"], "expected ndjson, json, csv or content"),
    v.description(
      "what every file holds; `content` makes one row of each entry, of whatever type; required",
    ),
  ),
  match: v.pipe(
    v.optional(text),
    v.description(
      "glob that names must match, such as `data/*.ndjson`, with `./` in front ignored; default all",
    ),
  ),
  maxRecord,
});

type TarConfig = v.InferOutput<typeof config>;

export const tar = defineStage({
  name: "tar",
  summary: "Reads the rows in the files of a tar archive, or its entries themselves as rows.",
  config,
  takes: "nothing",
  gives: "rows",
  holds: ({ format, maxRecord }) =>
    (format === "csv" || format === "json" ? parserBytes : 0) +
    50 * readBytes +
    batchBytes +
    heldRecord(maxRecord, 10.75, format === "csv" ? 20 : 8),
  open: (config, ctx) => {
    const { path, format, match } = config;
    const digest = digestQuery("tar", path, format, match ?? null);
    return readInput(path, digest, ctx, async function* ({ name, bytes }) {
      const entries = readMatching(readEntries(bytes, name), match);
      yield* format === "content"
        ? readContents(entries, config.maxRecord)
        : readFiles(entries, config);
    });
  },
});

async function* readMatching(entries: AsyncIterable<Entry>, match: string | undefined) {
  for await (const entry of entries) {
    const name = entry.header.name.replace(/^(\.\/)+/, "");
    if (match === undefined || matchesGlob(name, match)) yield entry;
  }
}

/** The rows of every file in turn. Folders are passed over; a link has no content of its own and is refused. */
async function* readFiles(
  entries: AsyncIterable<Entry>,
  config: TarConfig,
): AsyncGenerator<RowBatch> {
  let columns: readonly Column[] | undefined;
  for await (const { where, header, bytes } of entries) {
    if (header.type === "directory") continue;
    if (!isFile(header.type)) throw badData(where, `a ${header.type}; expected files (see match)`);
    for await (const batch of readRows(bytes, where, config)) {
      if (columns && !haveSameNames(columns, batch.columns)) {
        throw badData(where, "other columns than the files before; expected the same header");
      }
      columns ??= batch.columns;
      yield batch;
    }
  }
}

function readRows(bytes: AsyncIterable<Uint8Array>, where: string, config: TarConfig) {
  const { format, maxRecord } = config;
  if (format === "json") return readJson(bytes, where, { maxRecord });
  if (format === "csv") return readCsv(bytes, where, { ...copyDialect, maxRecord });
  return readNdjson(bytes, where, maxRecord);
}

function haveSameNames(some: readonly Column[], others: readonly Column[]): boolean {
  return some.length === others.length && some.every((one, at) => one.name === others[at]?.name);
}

/** Every entry as `{ name, type, size, mode, mtime, link, content }`; content is base64, null where there is none. */
async function* readContents(
  entries: AsyncIterable<Entry>,
  maxRecord: number,
): AsyncGenerator<RowBatch> {
  let rows: Row[] = [];
  let bytes = 0;
  for await (const entry of entries) {
    const row = await readContent(entry, maxRecord);
    rows.push(row);
    bytes += rowBytes(row.content?.length ?? 0) + 256;
    if (bytes < batchBytes) continue;
    yield { shape: "documents", columns: [], rows, bytes };
    rows = [];
    bytes = 0;
  }
  if (rows.length > 0) yield { shape: "documents", columns: [], rows, bytes };
}

async function readContent({ where, header, bytes }: Entry, maxRecord: number) {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bytes) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxRecord) {
      throw badData(where, `larger than maxRecord (${maxRecord} bytes); raise it or leave it out`);
    }
  }
  const { name, type, size, mode, linkname } = header;
  const mtime = timeOf(header);
  if (Number.isNaN(mtime.getTime())) throw badData(where, "a time of change that is none");
  const octal = mode.toString(8).padStart(4, "0");
  const content = isFile(type) ? Buffer.concat(chunks).toString("base64") : null;
  return { name, type, size, mode: octal, mtime: mtime.toISOString(), link: linkname, content };
}

/** What the format's own field has no room for, such as a time before 1970, stands in a pax record, unless that is empty. */
function timeOf({ mtime, pax }: Entry["header"]): Date {
  const { mtime: seconds } = (pax ?? {}) as { readonly mtime?: string };
  return seconds ? new Date(Math.round(1000 * Number(seconds))) : mtime;
}

function isFile(type: string): boolean {
  return type === "file" || type === "contiguous-file";
}
