/** Records of CSV, in whatever dialect the manifest says, as cells with their columns' names. */
import { assert, PipelineError } from "../errors.ts";
import type { ManifestHead } from "../pipeline/manifest.ts";
import { byteOrderMark, copyDialect } from "../stages/formats/csv-dialect.ts";
import { createCsvRecordParser } from "./parse-record.ts";
import { createScanner, splitRecords } from "./records.ts";

interface CsvRecord {
  /** As the header has them, or the manifest where there is none; may repeat. */
  readonly names: readonly string[];
  readonly cells: readonly (string | null)[];
}

/**
 * Gives the records that end in content, which is asked for in order; a record that spans pages is one content.
 * @throws PipelineError `integrity-failed`, from the reader, for what COPY would not print, and for records of another
 * number of fields
 */
export function createCsvReader({
  layers,
  schema,
}: Pick<ManifestHead, "layers" | "schema">): (content: Uint8Array) => Generator<CsvRecord> {
  const { dialect = copyDialect } = layers;
  const scanner = createScanner(layers);
  assert(scanner, "records of CSV can be told apart");
  const parse = createCsvRecordParser(dialect);
  let names: readonly string[] = schema.columns.map(({ name }) => name);
  let isFirst = true;
  return function* read(content) {
    // The mark may have a page of its own; the first value may begin with the same character.
    const records = isFirst && dialect.bom ? withoutMark(content) : content;
    isFirst = false;
    for (const { text, isHeader } of splitRecords(scanner, records)) {
      const cells = parse(text);
      if (isHeader) names = cells.map((name) => name ?? "");
      else if (cells.length === Math.max(1, names.length)) yield { names, cells };
      else throw ragged(cells.length, names.length);
    }
  };
}

/** A record without columns is an empty line, as one with a single NULL is. */
const ragged = (cells: number, columns: number): PipelineError =>
  new PipelineError(
    "integrity-failed",
    `a record has ${cells} fields, and the export ${columns} columns; the pages are authentic, so the exporter wrote it so`,
  );

const mark = Buffer.from(byteOrderMark);

const withoutMark = (content: Uint8Array): Uint8Array =>
  content.subarray(mark.equals(content.subarray(0, mark.length)) ? mark.length : 0);
