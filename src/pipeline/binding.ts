/**
 * What a run is bound to. An attempt that takes it up must mean the same: same stages, same resolved settings, same
 * modules, same destination; else pages of two meanings would end in one export.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { spellDestination } from "../stages/destinations/schemes.ts";
import { upload, type UploadConfig } from "../stages/pages/upload.ts";
import { isRowWork } from "../stages/transforms/row-work.ts";
import type { ConfiguredStage } from "./fuse.ts";
import type { PipelineSpec } from "./spec.ts";
import { isModulePath } from "./validate.ts";

/** Settings that may change between two attempts: how fast, how patient, by which login. */
const tunable = new Set([
  "sealedBy",
  "batch",
  "timeout",
  "connectTimeout",
  "statementTimeout",
  "exportTimeout",
  "auth",
  "maxRecord",
  "maxBatch",
  "memoryLimit",
  "level",
  "concurrency",
  "accessKeyId",
  "secretAccessKey",
  "sessionToken",
]);

/** Settings that hold secrets or people's data: no digest that is published may speak of them. */
const unspoken = new Set([
  "sealedBy",
  "url",
  "params",
  "search",
  "typeFilters",
  "windows",
  "auth",
  "passphrase",
  "accessKeyId",
  "secretAccessKey",
  "sessionToken",
]);

/**
 * SHA-256 (hex) over the stages as written, without addresses, parameters and secrets: for telling exports of the same
 * pipeline apart from others. Published in the manifest.
 */
export function digestStages({ stages }: PipelineSpec): string {
  const text = JSON.stringify(stages, (key, value: unknown) =>
    unspoken.has(key) ? undefined : spell(value),
  );
  return createHash("sha256").update(text).digest("hex");
}

/** The resolved meaning of the stages as one text. It may hold a passphrase: it is only ever fed to an HMAC under the run's own key. */
export interface Meaning {
  readonly meaning: string;
  /** The same with the destination as it is written, which bound runs before a path had one spelling. */
  readonly formerMeaning: string;
}

export const noMeaning: Meaning = { meaning: "", formerMeaning: "" };

export async function describeMeaning(
  stages: readonly ConfiguredStage[],
  baseDir: string,
): Promise<Meaning> {
  const parts: [name: string, config: unknown, digests: readonly string[]][] = [];
  for (const { name, config } of stages) {
    if (name === "spool") continue;
    const modules = [
      isModulePath(name) ? resolve(baseDir, name) : undefined,
      (config as { module?: unknown } | null)?.module,
    ].filter((module) => typeof module === "string");
    const digests = await Promise.all(modules.map(digestFile));
    parts.push([name, config, digests]);
  }
  const spelled = parts.map(([name, config, digests]) => [name, spellPlace(name, config), digests]);
  return { meaning: textOf(spelled), formerMeaning: textOf(parts) };
}

const textOf = (parts: readonly unknown[]): string =>
  JSON.stringify(parts, (key, value: unknown) => {
    if (tunable.has(key)) return undefined;
    return key === "url" && typeof value === "string" ? withoutPassword(value) : spell(value);
  });

function spellPlace(name: string, config: unknown): unknown {
  if (name !== upload.name) return config;
  const { to } = config as UploadConfig;
  return { ...(config as UploadConfig), to: spellDestination(to) };
}

/** A stream in code is known by its class alone: what is inside it changes while it is looked at. */
function spell(value: unknown): unknown {
  if (typeof value === "function" || typeof value === "bigint") return String(value);
  return isRowWork(value) ? value.constructor.name : value;
}

const digestFile = async (path: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

function withoutPassword(url: string): string {
  return URL.canParse(url) ? Object.assign(new URL(url), { password: "" }).href : url;
}
