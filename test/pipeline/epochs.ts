/** Exports of a query that are cut off after so many pages, and taken up again. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import type { Placed } from "../../src/pipeline/define.ts";
import { run } from "../../src/pipeline/run.ts";
import type { RunSummary } from "../../src/pipeline/summary.ts";
import { PipelineError } from "../../src/errors.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { defineStage, type Log } from "../../src/stages/stage.ts";
import { readWhole } from "../fixtures/manifest.ts";
import { makePipeline, plainOf, readPageFiles, testEnv } from "../fixtures/pipelines.ts";

export interface Cut {
  /** Of each attempt, or of all of them. */
  readonly source: object | ((attempt: number) => object);
  readonly rows?: readonly Placed[];
  readonly format?: "ndjson" | "csv" | "json";
  readonly encrypt?: Record<string, unknown>;
  /** After how many pages each attempt but the last is cut off. */
  readonly cuts: readonly number[];
  /** Between two attempts. */
  readonly between?: (attempt: number) => Promise<unknown> | void;
  readonly folder: string;
  readonly log?: Log;
}

export interface Exported {
  readonly summary: RunSummary;
  readonly text: string;
  /** Page files by name: equal ones mean equal records, boundaries and chain. */
  readonly pages: ReadonlyMap<string, Uint8Array>;
  readonly consistency: {
    readonly class: string;
    readonly proof: Readonly<Record<string, unknown>>;
  };
}

/** Exports to the end, however often it is cut off. */
export async function exportCut(cut: Cut): Promise<Exported> {
  const { folder, cuts } = cut;
  const [dir, to] = [join(folder, "spool"), join(folder, "out")];
  for (let attempt = 0; ; attempt += 1) {
    const pipeline = makePipeline({
      source: postgres(
        (typeof cut.source === "function" ? cut.source(attempt) : cut.source) as never,
      ),
      rows: cut.rows ?? [],
      ...(cut.format && { format: cut.format }),
      ...(cut.encrypt && { encrypt: cut.encrypt }),
      dir,
      to,
      behind: { chunk: cutAfter(cuts[attempt]) },
    });
    try {
      const summary = await run(pipeline, { env: testEnv, ...(cut.log && { log: cut.log }) });
      return { summary, ...(await readBack(summary)) };
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== "spool-failed") throw error;
    }
    await cut.between?.(attempt);
  }
}

/** Lets so many pages pass, and then fails as a disk might. */
function cutAfter(most: number | undefined) {
  return defineStage({
    name: "scissors",
    summary: "Cuts an export off.",
    config: v.strictObject({}),
    takes: "pages",
    gives: "pages",
    holds: () => 0,
    async *open(_config, _ctx, input) {
      let passed = 0;
      for await (const page of input) {
        if (passed === most) {
          page.release();
          throw new PipelineError("spool-failed", "cut off");
        }
        passed += 1;
        yield page;
      }
    },
  })({});
}

async function readBack({ destination, manifest, layers }: RunSummary) {
  const pages = await readPageFiles(fileURLToPath(destination));
  const { head } = await readWhole(await readFile(fileURLToPath(manifest)));
  const text = layers.encrypt === "none" ? plainOf(pages) : "";
  return { pages, text, consistency: head.consistency };
}

/** What an unfinished run has in its folder, as one text. */
export async function spoolText(folder: string): Promise<string> {
  const root = join(folder, "spool");
  const names = await readdir(root, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile());
  const texts = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name), "latin1")),
  );
  return texts.join("\n");
}
