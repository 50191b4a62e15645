/**
 * What a run is bound to. An attempt that takes it up must mean the same: same stages, same resolved settings, same
 * modules, same destination; else pages of two meanings would end in one export.
 */
import { createHash, hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import { spellDestination } from "../stages/destinations/schemes.ts";
import { upload, type UploadConfig } from "../stages/pages/upload.ts";
import { registry } from "../stages/registry.ts";
import { isRowWork } from "../stages/transforms/row-work.ts";
import type { ConfiguredStage, Meaning } from "./plan-types.ts";
import { isMapping } from "./references.ts";
import type { PipelineSpec } from "./spec.ts";
import { isModulePath } from "./validate.ts";

/** Settings of our stages that may change between two attempts: how fast, how patient, by which login. */
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

/** How an upload gets in where it goes; here `query` is that of a web server's URL. */
const logins = new Set([
  "accountKey",
  "sas",
  "authorization",
  "query",
  "privateKey",
  "passphrase",
  "password",
]);

/**
 * SHA-256 (hex) over the stages as written, without addresses, parameters and secrets: for telling exports of the same
 * pipeline apart from others. Published in the manifest.
 */
export function digestStages({ stages }: PipelineSpec): string {
  const text = JSON.stringify(stages, (key, value: unknown) => {
    if (unspoken.has(key)) return undefined;
    return key === upload.name ? withoutLogin(value) : spell(value);
  });
  return createHash("sha256").update(text).digest("hex");
}

export const noMeaning: Meaning = { meaning: "", formerMeaning: "" };

export async function describeMeaning(
  stages: readonly ConfiguredStage[],
  baseDir: string,
): Promise<Meaning> {
  const parts: [name: string, config: unknown, digests: readonly string[]][] = [];
  for (const stage of stages) {
    const { name, config } = stage;
    if (name === "spool") continue;
    const modules = [
      isModulePath(name) ? resolve(baseDir, name) : undefined,
      (config as { module?: unknown } | null)?.module,
    ].filter((module) => typeof module === "string");
    const digests = await Promise.all(modules.map((module) => digestFile(module, name)));
    const isOurs = registry.get(name) === stage.definition;
    parts.push([name, isOurs ? withoutTunable(config) : config, digests]);
  }
  const spelled = parts.map(([name, config, digests]) => [name, spellPlace(name, config), digests]);
  return { meaning: textOf(spelled), formerMeaning: textOf(parts) };
}

const textOf = (parts: readonly unknown[]): string =>
  JSON.stringify(parts, (key, value: unknown) => {
    return key === "url" && typeof value === "string" ? withoutPassword(value) : spell(value);
  });

/** What lies deeper, such as the names of a lookup's columns, is nobody's setting. */
function withoutTunable(config: unknown): unknown {
  if (!isMapping(config)) return config;
  const members = Object.entries(config).filter(([key]) => !tunable.has(key));
  return Object.fromEntries(
    members.map(([key, value]) => [key, key === "watermark" ? withoutTunable(value) : value]),
  );
}

function spellPlace(name: string, config: unknown): unknown {
  if (name !== upload.name) return config;
  const { to } = config as UploadConfig;
  return withoutLogin({ ...(config as UploadConfig), to: spellDestination(to) });
}

/** A login may be renewed while a run waits to be taken up; where it goes stays. */
function withoutLogin(config: unknown): unknown {
  if (typeof config === "string") return isDatabase(config) ? withoutPassword(config) : config;
  if (typeof config !== "object" || config === null) return config;
  const members = Object.entries(config).filter(([key]) => !logins.has(key));
  return Object.fromEntries(
    members.map(([key, value]) => [key, key === "to" ? withoutLogin(value) : value]),
  );
}

const isDatabase = (url: string): boolean => /^postgres(?:ql)?:/i.test(url);

/** A stream in code is known by its class alone: what is inside it changes while it is looked at. */
function spell(value: unknown): unknown {
  if (typeof value === "function" || typeof value === "bigint") return String(value);
  return isRowWork(value) ? value.constructor.name : value;
}

async function digestFile(path: string, stage: string): Promise<string> {
  try {
    return hash("sha256", await readFile(path));
  } catch (error) {
    const reason = systemCode(error) ?? "unknown reason";
    const message = `${stage}: the module ${path} cannot be read (${reason})`;
    throw new PipelineError("config-invalid", message, { cause: error });
  }
}

function withoutPassword(url: string): string {
  if (!URL.canParse(url)) return url;
  const bare = Object.assign(new URL(url), { password: "" });
  if (bare.searchParams.has("password")) bare.searchParams.delete("password");
  return bare.href;
}
