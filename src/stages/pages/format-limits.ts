/** What the format has no room for is refused as soon as it shows, not when all pages are made and the manifest is written. */
import { PipelineError } from "../../errors.ts";
import { formatBytes } from "../atoms.ts";
import type { Column } from "../nouns.ts";
import { maxPages } from "./checkpoint.ts";

/** The last page's checkpoint and the lines of a manifest before its pages hold 4 MiB each, and more than the columns. */
const columnBytesAtMost = 3 * 2 ** 20;

/** @throws PipelineError `config-invalid` for a page whose number the format has no name for */
export function refuseBeyondFormat(page: number): void {
  if (page < maxPages) return;
  throw new PipelineError(
    "config-invalid",
    `chunk: the export needs more than the ${maxPages} pages that its format has numbers for; raise \`chunk.size\` (or \`chunk.records\`) and begin again with \`spillway run --restart\``,
  );
}

/** @throws PipelineError `config-invalid` for columns that no manifest could name */
export function refuseLongColumns(columns: readonly Column[]): void {
  const bytes = Buffer.byteLength(JSON.stringify(columns));
  if (bytes <= columnBytesAtMost) return;
  throw new PipelineError(
    "config-invalid",
    `chunk: the names and types of the ${columns.length} columns take ${formatBytes(bytes)}, and a manifest has room for ${formatBytes(columnBytesAtMost)} of them; expected fewer columns, or shorter names and types`,
  );
}
