/** Our whole job, as a benchmark runs it: a pipeline file, and the command on it in a process of its own. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RunSummary } from "../src/pipeline/summary.ts";

export interface Job {
  /** Of the pipeline, its file and its folders. */
  readonly name: string;
  /** The stages that give records: a source and `serialize`, or `postgres-copy`. */
  readonly records: readonly object[];
  /** An age recipient. */
  readonly to: string;
  readonly page?: string;
  readonly memory?: string;
  readonly upload?: object;
  readonly telemetry?: object;
}

export interface WrittenJob {
  readonly yaml: string;
  /** The folder that holds what was exported, where `upload` says nothing else. */
  readonly out: string;
  /** The command; its summary goes to `summary`. */
  readonly script: string;
  readonly summary: string;
}

const root = join(import.meta.dirname, "..");
export const bin = join(root, "bin", "spillway.js");

/** Writes the pipeline of a job into `folder`. */
export async function writeJob(folder: string, job: Job): Promise<WrittenJob> {
  const at = (name: string) => join(folder, name);
  const [yaml, out, summary] = [`${job.name}.yaml`, `${job.name}-out`, `${job.name}.json`].map(at);
  const stages = [
    ...job.records,
    { chunk: job.page ?? "1MiB" },
    { compress: "zstd" },
    { encrypt: { to: job.to } },
    { spool: at("spool") },
    { upload: job.upload ?? out },
  ];
  const { name, memory, telemetry } = job;
  // JSON is YAML; what is undefined is not written.
  await writeFile(yaml!, JSON.stringify({ name, memory, stages, telemetry }));
  const script = `${process.execPath} ${bin} run ${yaml} --json --quiet > ${summary}`;
  return { yaml: yaml!, out: out!, script, summary: summary! };
}

/** NDJSON of a query, written from the server's own bytes. */
export const ndjsonOf = (url: string, query: string): object[] => [
  { postgres: { url, query } },
  { serialize: "ndjson" },
];

/** Runs a job to its end, outside any measurement. */
export function runJob(yaml: string, env: Readonly<Record<string, string>>): RunSummary {
  const options = { env: { ...process.env, ...env }, maxBuffer: 2 ** 26 };
  const text = execFileSync(process.execPath, [bin, "run", yaml, "--json", "--quiet"], options);
  return JSON.parse(text.toString()) as RunSummary;
}

/** The command as users have it: where a source is newer, it would run from TypeScript and weigh 35 MB more. */
export function buildWhenChanged(): void {
  const built = join(root, "dist", "js", "main.js");
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  const newest = Math.max(...sources.map((name) => statSync(join(root, "src", name)).mtimeMs));
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return;
  process.stderr.write("building, because a source has changed\n");
  execFileSync(process.execPath, [join(root, "scripts", "build.ts")], { stdio: "inherit" });
}
