/** The pipelines of the proof of sources: three ways from PostgreSQL to pages, a gate that holds pages back, their digest. */
import { createHash, generateKeyPairSync } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import * as v from "valibot";
import { definePipeline, type Pipeline, type Placed } from "../../src/pipeline/define.ts";
import type { PipelineSpec } from "../../src/pipeline/spec.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { postgresCopy } from "../../src/stages/sources/postgres-copy.ts";
import { defineStage } from "../../src/stages/stage.ts";
import { untilAborted } from "../../src/stages/until-aborted.ts";

/** `wire`: no row objects; `rows`: through the cursor and a row function; `copy`: PostgreSQL's own CSV. */
export const paths = ["wire", "rows", "copy"] as const;
export type Path = (typeof paths)[number];

export const name = "source";

/** Holds pages back while it is shut, so that the source rests. */
export interface Gate {
  shut(): void;
  open(): void;
}

export interface Export {
  readonly pipeline: Pipeline;
  readonly gate: Gate;
  readonly folder: string;
  readonly out: string;
}

export interface ExportOptions {
  readonly home: string;
  readonly url: string;
  readonly query: string;
  readonly path: Path;
  /** Settings of the source besides. */
  readonly settings?: object;
}

export function makeExport({ home, url, query, path, settings }: ExportOptions): Export {
  const { gate, stage } = createGate();
  const source = { url, query, ...settings };
  const sources: Readonly<Record<Path, readonly Placed[]>> = {
    wire: [postgres(source), serialize("ndjson")],
    rows: [postgres({ ...source, batch: "16KiB" }), (row: unknown) => row, serialize("ndjson")],
    copy: [postgresCopy({ ...source, format: "csv" })],
  };
  const out = join(home, "out");
  const stages = [
    ...sources[path],
    chunk("16KiB"),
    stage,
    compress("zstd"),
    encrypt({ mode: "none" }),
    spool({ dir: join(home, "spool") }),
    upload({ to: out }),
  ];
  // A list put together at run time is beyond the compiler's watch over wiring.
  const define = definePipeline as unknown as (
    spec: Omit<PipelineSpec, "stages"> & { readonly stages: readonly Placed[] },
  ) => Pipeline;
  const pipeline = define({ name, memory: "512MiB", sign: "${env:SIGN_KEY}", stages });
  return { pipeline, gate, folder: join(home, "spool", name), out: join(out, name) };
}

function createGate() {
  let passable = Promise.resolve();
  let open = () => {};
  const gate: Gate = {
    shut() {
      passable = new Promise((resolve) => (open = resolve));
    },
    open: () => open(),
  };
  const stage = defineStage({
    name: "gate",
    summary: "Lets pages pass while it is open.",
    config: v.strictObject({}),
    takes: "pages",
    gives: "pages",
    holds: () => 0,
    async *open(_config, ctx, input) {
      for await (const page of input) {
        try {
          await untilAborted(passable, ctx.signal);
        } catch (error) {
          page.release();
          throw error;
        }
        yield page;
      }
    },
  })({});
  return { gate, stage };
}

/** An environment with a signing key and nothing else. */
export const signEnv: Readonly<Record<string, string>> = {
  SIGN_KEY: generateKeyPairSync("ed25519")
    .privateKey.export({ type: "pkcs8", format: "pem" })
    .toString(),
};

/** What every committed export of a folder restores to, once each was verified; throws what is wrong with one. */
export async function restoredTexts(out: string): Promise<readonly string[]> {
  const texts: string[] = [];
  for (const run of await readdir(out)) {
    const url = join(out, run);
    // A run that was given up leaves pages, and nothing that calls them an export.
    if (!(await readdir(url)).includes("manifest.json")) continue;
    const report = await verifyExport(url, { level: "full" });
    if (!report.ok) throw new Error(`verify found ${JSON.stringify(report.problems[0])} in ${run}`);
    const parts: Buffer[] = [];
    const sink = new Writable({
      write(bytes: Buffer, _encoding, done) {
        parts.push(Buffer.from(bytes));
        done();
      },
    });
    await restoreExport(url, { to: sink });
    texts.push(Buffer.concat(parts).toString("utf8"));
  }
  return texts;
}

export const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

/** What a finished run leaves in its folder that should not be there. */
export async function leftIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder);
  return names.filter((name) => name !== "lock.db" && !/^last-[0-9a-f]{16}\.json$/.test(name));
}
