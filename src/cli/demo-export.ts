/** The demo's export: the command line itself as a process of its own, so that its memory is what a user would see. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunSummary } from "../pipeline/summary.ts";
import { PipelineError } from "../errors.ts";

const cli = fileURLToPath(new URL("../../bin/spillway.js", import.meta.url));

/** The demo's pipeline, as it is written to the folder. */
export const demoPipeline = (recipient: string, query: string): string => `\
name: observations
memory: 96MiB
stages:
  - postgres:
      url: \${env:DATABASE_URL}
      query: ${query}
      key: [id]
  - serialize: ndjson
  - chunk: 1MiB
  - compress: zstd
  - encrypt: { to: ${recipient} }
  - spool: ./spool
  - upload: ./exports
sign: \${file:./signing-key.pem}
`;

export interface DemoExport {
  /** Where export.yaml lies and the result goes. */
  readonly folder: string;
  readonly databaseUrl: string;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

/**
 * Runs `spillway run export.yaml --json`; its progress appears on standard error. Keeps the summary as report.json.
 * @throws PipelineError of the run, or `interrupted`
 */
export async function runDemoExport(init: DemoExport): Promise<RunSummary> {
  const { folder, databaseUrl, quiet, signal } = init;
  const args = [cli, "run", "export.yaml", "--json", ...(quiet ? ["--quiet"] : [])];
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, DATABASE_URL: databaseUrl },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stop = () => child.kill("SIGINT");
  signal.addEventListener("abort", stop);
  try {
    const ended = once(child, "close") as Promise<[code: number | null]>;
    const printed = Buffer.concat(await child.stdout.toArray()).toString();
    const [code] = await ended;
    signal.throwIfAborted();
    if (code !== 0) throw failureOf(printed);
    await writeFile(join(folder, "report.json"), printed);
    return JSON.parse(printed) as RunSummary;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** What the child said of its failure, as our own. */
function failureOf(printed: string): PipelineError {
  try {
    const { error } = JSON.parse(printed) as { error: Pick<PipelineError, "code" | "message"> };
    return new PipelineError(error.code, error.message);
  } catch {
    return new PipelineError("internal", "the export ended without a word");
  }
}
