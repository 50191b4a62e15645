/**
 * CSV as NDJSON, for a table, which takes no other: a cell is its text, which the table's own types read, as COPY would
 * have them do; JSON goes as JSON, since a table would take its text for a JSON string.
 */
import type { ManifestHead } from "../pipeline/manifest.ts";
import { createCsvReader } from "./csv-reader.ts";

const jsonTypes: ReadonlySet<string> = new Set(["json", "jsonb"]);

/** Makes NDJSON of content, which is given in order and holds whole records. */
export function createCsvToNdjson(
  head: Pick<ManifestHead, "layers" | "schema">,
): (content: Uint8Array) => Uint8Array {
  const read = createCsvReader(head);
  const isJson = head.schema.columns.map(({ type }) => jsonTypes.has(type.toLowerCase()));
  return (content) => {
    const lines: string[] = [];
    for (const { names, cells } of read(content)) {
      // A name that is there twice stays so, and the table refuses it.
      const members = names.map(
        (name, at) => `${JSON.stringify(name)}:${printCell(cells[at] ?? null, isJson[at])}`,
      );
      lines.push(`{${members.join(",")}}\n`);
    }
    return Buffer.from(lines.join(""));
  };
}

function printCell(cell: string | null, isJson: boolean | undefined): string {
  if (cell === null) return "null";
  if (!isJson || !isValid(cell)) return JSON.stringify(cell);
  // Raw line breaks stand only between its tokens.
  return cell.replaceAll(/[\r\n]/g, " ");
}

/** A row function may have made a plain text of it. */
function isValid(json: string): boolean {
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}
