/**
 * CSV as NDJSON, for a table, which takes no other: a cell is its text, which the table's own types read, as COPY would
 * have them do; JSON goes as JSON, since a table would take its text for a JSON string. What a source calls JSON is that;
 * where its values may be nested, objects and lists are. A column of texts takes the text, JSON or not: `"a"` has quotes there.
 */
import type { ManifestHead } from "../pipeline/manifest.ts";
import { isJson } from "../stages/formats/json-text.ts";
import { createCsvReader } from "./csv-reader.ts";

const anyJson = /^/;
const nested = /^[[{]/;
/** PostgreSQL prints its arrays in braces: these are texts, an empty one too. */
const list = /^\[/;

/** How JSON begins in cells of a column, by what sources call its type; `any` is of those that have none. */
const beginnings: ReadonlyMap<string, RegExp> = new Map([
  ["json", anyJson],
  ["jsonb", anyJson],
  ...["any", "struct", "map", "union"].map((type) => [type, nested] as const),
]);

const beginningOf = (type: string): RegExp | undefined =>
  type.endsWith("]") ? list : beginnings.get(type.toLowerCase());

/** Makes NDJSON of content, which is given in order and holds whole records, for a table where `texts` are columns of texts. */
export function createCsvToNdjson(
  head: Pick<ManifestHead, "layers" | "schema">,
  texts: readonly string[] = [],
): (content: Uint8Array) => Uint8Array {
  const read = createCsvReader(head);
  const beginningsOf = head.schema.columns.map(({ name, type }) =>
    texts.includes(name) ? undefined : beginningOf(type),
  );
  return (content) => {
    const lines: string[] = [];
    for (const { names, cells } of read(content)) {
      // A name that is there twice stays so, and the table refuses it.
      const members = names.map(
        (name, at) => `${JSON.stringify(name)}:${printCell(cells[at] ?? null, beginningsOf[at])}`,
      );
      lines.push(`{${members.join(",")}}\n`);
    }
    return Buffer.from(lines.join(""));
  };
}

function printCell(cell: string | null, json: RegExp | undefined): string {
  if (cell === null) return "null";
  // A row function may have made a plain text of it.
  if (!json?.test(cell) || !isJson(cell)) return JSON.stringify(cell);
  // Who nests values prints none: it is a text that looks like one.
  if (json !== anyJson && /[\r\n]/.test(cell)) return JSON.stringify(cell);
  // Raw line breaks stand only between the tokens of JSON.
  return cell.replaceAll(/[\r\n]/g, " ");
}
