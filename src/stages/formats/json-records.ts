/** Rows to JSON objects: shared by `ndjson` and `json`. */
import type { Column, Row, RowBatch, Tuple } from "../nouns.ts";
import { type JsonWriter, cellWriter, memberWriter } from "./json-bytes.ts";
import { valueToJson } from "./json-text.ts";
import type { RecordBuffer } from "./record-buffer.ts";

/** Appends one row as a JSON object; of a tuple or a document, as the batch it was made for has them. */
export type ObjectWriter = (row: Tuple | Row, out: RecordBuffer) => void;

/** The writer for the rows of a batch; remembers the one for the columns it saw last. */
export function createObjectWriters(): (batch: RowBatch) => ObjectWriter {
  let seen: Pick<RowBatch, "columns" | "shape"> | undefined;
  let write: ObjectWriter;
  return ({ columns, shape }) => {
    if (columns !== seen?.columns || shape !== seen.shape) {
      seen = { columns, shape };
      write = (shape === "tuples" ? tupleWriter : documentWriter)(columns) as ObjectWriter;
    }
    return write;
  };
}

/** The keys of a row that JSON has: those without a value are left out, as `JSON.stringify` does. */
export const writtenNames = (row: Row): readonly string[] =>
  Object.keys(row).filter((key) => isWritten(row[key]));

const isWritten = (value: unknown): boolean =>
  value !== undefined && typeof value !== "function" && typeof value !== "symbol";

const utf8 = (text: string) => new TextEncoder().encode(text);
const [close, empty] = [utf8("}"), utf8("{}")];
const nameBytes = (name: string, before: "{" | ",") => utf8(`${before}${JSON.stringify(name)}:`);

function tupleWriter(columns: readonly Column[]): (row: Tuple, out: RecordBuffer) => void {
  if (columns.length === 0) return (_row, out) => out.bytes(empty);
  const names = columns.map(({ name }, index) => nameBytes(name, index === 0 ? "{" : ","));
  const cells = columns.map(cellWriter);
  return (row, out) => {
    for (let i = 0; i < names.length; i += 1) {
      out.bytes(names[i]!);
      cells[i]!(row[i], out);
    }
    out.bytes(close);
  };
}

interface Member {
  readonly name: string;
  readonly first: Uint8Array;
  readonly later: Uint8Array;
  readonly write: JsonWriter;
}

function documentWriter(columns: readonly Column[]): (row: Row, out: RecordBuffer) => void {
  if (columns.length === 0) return (row, out) => out.text(valueToJson(row));
  const memberOf = createMembers(columns);
  /** The members of the row before, by position: most rows are alike. */
  const before: Member[] = [];
  return (row, out) => {
    const names = Object.keys(row);
    let isFirst = true;
    for (let i = 0; i < names.length; i += 1) {
      const name = names[i]!;
      const value = row[name];
      const known = before[i];
      const member = known?.name === name ? known : (before[i] = memberOf(name));
      if (!isWritten(value)) continue;
      out.bytes(isFirst ? member.first : member.later);
      member.write(value, out);
      isFirst = false;
    }
    out.bytes(isFirst ? empty : close);
  };
}

/** Names remembered at most: beyond the columns they can be data. */
const mostNames = 1000;

function createMembers(columns: readonly Column[]): (name: string) => Member {
  const hints = new Map(columns.map((column) => [column.name, column]));
  const members = new Map<string, Member>();
  return (name) => {
    let member = members.get(name);
    if (!member) {
      const [first, later] = [nameBytes(name, "{"), nameBytes(name, ",")];
      member = { name, first, later, write: memberWriter(hints.get(name)) };
      if (members.size < mostNames) members.set(name, member);
    }
    return member;
  };
}
