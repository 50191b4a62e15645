/** How a plan's pages will be made, as the manifest says it; what only a page's name says is left to the pages. */
import { toldDialect, type CsvOptions } from "../stages/formats/csv-dialect.ts";
import type { Layers } from "./manifest.ts";

export type PlannedLayers = Omit<Layers, "extension">;

/** @param configs of stages, by their names */
export function planLayers(configs: ReadonlyMap<string, unknown>): PlannedLayers {
  const { codec } = configs.get("compress") as { readonly codec: Layers["compress"] };
  const records = configs.get("serialize") ?? configs.get("postgres-copy");
  const dialect = dialectOfRecords(records as RecordsConfig | undefined);
  return {
    compress: codec,
    encrypt: "mode" in (configs.get("encrypt") as object) ? "none" : "age",
    ...(dialect && { dialect }),
  };
}

/** What whoever reads the pages needs for them; null where they are not encrypted. */
export type Opener = "key" | "passphrase" | null;

export function openerOf(configs: ReadonlyMap<string, unknown>): Opener {
  const encrypted = configs.get("encrypt") as object;
  if ("mode" in encrypted) return null;
  return "passphrase" in encrypted ? "passphrase" : "key";
}

interface RecordsConfig extends CsvOptions {
  readonly format: string;
}

const dialectOfRecords = (config: RecordsConfig | undefined) =>
  config?.format === "csv" ? toldDialect(config) : undefined;
