/** What destinations that take rows agree on: which objects are pages of rows, and which columns their records may name. */
import { PipelineError } from "../../errors.ts";
import { wholeOf } from "../durable-file.ts";
import type { StoredObject, TableOptions } from "./destination.ts";

/** A column of any database. */
export interface AnyColumn {
  readonly name: string;
  /** The database computes it: what a record says of it is left out. */
  readonly isGenerated: boolean;
  /** It holds texts, whatever they say. */
  readonly isText: boolean;
}

/** A table of any database. */
export interface AnyTable<Column extends AnyColumn> {
  /** For people. */
  readonly name: string;
  readonly columns: readonly Column[];
  readonly key: readonly string[];
}

export const textColumnsOf = ({ columns }: AnyTable<AnyColumn>): string[] =>
  columns.filter(({ isText }) => isText).map(({ name }) => name);

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** @throws PipelineError `config-invalid` where no table is named */
export function tableOf(options: TableOptions | undefined, scheme: string): TableOptions {
  if (options) return options;
  throw new PipelineError(
    "config-invalid",
    `upload: a ${scheme} destination needs \`table\`, the table that takes the rows`,
  );
}

/** An object in one piece: it becomes rows, or one value of a note. */
export interface WholeObject extends StoredObject {
  readonly bytes: Uint8Array;
}

export const wholeObject = async (object: StoredObject): Promise<WholeObject> => ({
  ...object,
  bytes: await wholeOf(object.bytes),
});

const newline = 0x0a;

/**
 * The records of a page; undefined for what is no page.
 * @throws PipelineError `destination-refused` where the page cannot be read, or ends within a record
 */
export function recordsOf({ name, bytes }: WholeObject): Uint8Array | undefined {
  const [, layers] = /\/\d{8}\.([a-z.]+)$/.exec(name) ?? [];
  if (layers === undefined) return undefined;
  if (layers !== "ndjson") {
    throw new PipelineError(
      "destination-refused",
      "the destination reads what it takes; expected `serialize: ndjson`, `compress: none` and `encrypt: none`",
    );
  }
  if (bytes.length > 0 && bytes.at(-1) !== newline) {
    throw new PipelineError(
      "destination-refused",
      "a record is longer than a page, and rows are written page by page; raise `chunk`",
    );
  }
  return bytes;
}

/**
 * The columns to write, of those that every record of a page names.
 * @throws PipelineError `destination-refused` where the table has them not, or they are named twice
 */
export function fitColumns<Column extends AnyColumn>(
  named: readonly string[],
  { name, columns }: AnyTable<Column>,
): readonly Column[] {
  if (new Set(named).size < named.length) throw refusedPage("records name a column twice");
  const known = new Map(columns.map((column) => [column.name, column]));
  const strange = named.filter((column) => !known.has(column));
  // Names may come from the data, so they are counted and not told.
  if (strange.length > 0) {
    const all = columns.map((column) => column.name).join(", ");
    throw refusedPage(
      `records have ${strange.length} columns that ${name} has not; expected some of ${all}`,
    );
  }
  return named.map((column) => known.get(column)!).filter(({ isGenerated }) => !isGenerated);
}

/** What a record leaves out would be NULL or a default by what else lies on its page. */
export const differentColumns = (): PipelineError =>
  refusedPage(
    "the records of a page name different columns, or none; expected the same in each, with null where there is nothing",
  );

export const refusedPage = (what: string): PipelineError =>
  new PipelineError("destination-refused", `${what}; nothing of this page was written`);

export const unfitTable = (what: string): PipelineError =>
  new PipelineError("destination-refused", what);
