/** Row work from a user's own module. */
import { realpath } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { framesOf, kindOf, PipelineError } from "../../errors.ts";
import { isRowWork, type RowWork } from "./row-work.ts";

/**
 * Loads the default export (or the only export) of a module as row work.
 * @param module absolute path, or the work itself when the pipeline is made in code
 * @throws PipelineError `config-invalid` when it cannot be loaded or is no row work
 */
export async function loadRowWork(module: string | RowWork, stage: string): Promise<RowWork> {
  if (typeof module !== "string") return module;
  const exported = await importModule(module, stage);
  const names = Object.keys(exported);
  const work = exported["default"] ?? (names.length === 1 ? exported[names[0]!] : undefined);
  if (!isRowWork(work)) {
    throw new PipelineError(
      "config-invalid",
      `${stage}: ${module} must export a function, a generator function, a Transform or a stream-chain chain as its default`,
    );
  }
  return work;
}

/** How often each module was asked for in this process. */
const loads = new Map<string, number>();

/**
 * Imports a module of the user's, anew each time: what it still holds of a run that failed must not come out of the next
 * one, and a Transform works once. A failure names the file, not a stack, and repeats nothing the module itself threw.
 */
export async function importModule(path: string, stage: string): Promise<Record<string, unknown>> {
  const url = pathToFileURL(path);
  const before = loads.get(path) ?? 0;
  loads.set(path, before + 1);
  if (before > 0) url.searchParams.set("load", String(before));
  // Of CommonJS Node keeps one copy, by its file: it stays that of those who load it otherwise.
  const { cache } = createRequire(path);
  const file = await realpath(path).catch(() => path);
  const kept = cache[file];
  if (before > 0) delete cache[file];
  try {
    return (await import(url.href)) as Record<string, unknown>;
  } catch (error) {
    throw new PipelineError("config-invalid", `${stage}: cannot load ${path}: ${reasonOf(error)}`, {
      cause: error,
    });
  } finally {
    if (kept) cache[file] = kept;
  }
}

/** What Node says of a module it cannot find, read or compile; of what the module threw itself, the class alone. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return `it threw ${kindOf(error)}`;
  const { code } = error as { code?: unknown };
  const isNodes = typeof code === "string" && code.startsWith("ERR_");
  const isCompiling = error instanceof SyntaxError && isInside(framesOf(error)[0] ?? "");
  if (isNodes || isCompiling) return error.message.split("\n")[0] ?? "";
  return `it threw ${kindOf(error)}; its message is kept back because it may quote what it read`;
}

const isInside = (frame: string) => /[ (]node:/.test(frame);
