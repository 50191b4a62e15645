/** Whether a destination that takes rows can read what the pipeline makes for it, and what it does with that. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { PipelineError } from "../errors.ts";
import { takesRows } from "../stages/destinations/schemes.ts";
import type { UploadConfig } from "../stages/pages/upload.ts";

/** @throws PipelineError `config-invalid` where rows could not be read or could not be written */
export function planTable(url: URL, configs: ReadonlyMap<string, unknown>): void {
  if (!takesRows(url.protocol)) return;
  const { format } = (configs.get("serialize") ?? {}) as { format?: unknown };
  const { codec } = configs.get("compress") as { codec: unknown };
  const isOpen = codec === "none" && "mode" in (configs.get("encrypt") as object);
  const { table } = configs.get("upload") as UploadConfig;
  if (format !== "ndjson" || !isOpen || table === undefined) {
    throw new PipelineError(
      "config-invalid",
      `upload: a ${url.protocol.slice(0, -1)} destination writes rows; expected \`serialize: ndjson\`, \`compress: none\`, \`encrypt: none\` and its \`table\``,
    );
  }
  if (url.protocol === "sqlite:") refuseOwnSource(url, configs);
}

/** What becomes of pages where they are rows. */
export function explainTable({ table, key = [] }: UploadConfig): string[] {
  if (table === undefined) return [];
  const fate =
    key.length > 0
      ? `rows with the same ${key.join(", ")} are replaced`
      : "rows are appended to those there are";
  return [`each page becomes rows of ${table}, in one transaction; ${fate}`];
}

/** The snapshot of the rows would keep their writing from being committed, until one of both gives up. */
function refuseOwnSource({ pathname }: URL, configs: ReadonlyMap<string, unknown>): void {
  const source = configs.get("sqlite") as { path: unknown } | undefined;
  if (typeof source?.path !== "string") return;
  if (resolve(source.path) !== fileURLToPath(`file://${pathname}`)) return;
  throw new PipelineError(
    "config-invalid",
    "upload: a SQLite file cannot be read and written in one run; expected another file, or a copy of it, as source",
  );
}
