/**
 * Do batches that follow memory keep to the budget, and cost no speed against the best fixed number of rows?
 *
 *   npm run build && node bench/batches.ts [--runs 3] [--mb 60]
 *
 * Every line is the whole command in a process of its own, with a row function so that rows are made at all. The closed
 * loop is `postgres` as it is; the others read the same query in batches of a fixed number of rows. All alternate.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { formatBytes } from "../src/stages/atoms.ts";
import { measure, median } from "./measure.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    mb: { type: "string", default: "60" },
    url: { type: "string" },
  },
});
const runs = Number(values.runs);
const totalBytes = Number(values.mb) * 1e6;
const bin = join(import.meta.dirname, "..", "bin", "spillway.js");

/** Rows of 40 bytes and `hashes` × 32. */
const rowsOf = (hashes: number, bytes: number): string =>
  `select i::bigint as id, repeat(md5(i::text), ${hashes}) as body
   from generate_series(1, ${Math.round(bytes / (40 + 32 * hashes))}) i`;

/** Sizes that take about the same time. */
const tables = {
  narrow: rowsOf(0, totalBytes / 4),
  wide: rowsOf(1000, totalBytes * 3),
  "jumping (300 B, then 30 KB)": `${rowsOf(8, totalBytes / 2)} union all ${rowsOf(1000, totalBytes / 2)}`,
};
const contenders = {
  "closed loop": undefined,
  "100 rows": 100,
  "1000 rows": 1000,
  "10 000 rows": 10_000,
};
type Contender = keyof typeof contenders;

interface Result {
  readonly rows: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  readonly budgetBytes: number;
}

const folder = await mkdtemp(join(tmpdir(), "spillway-batches-"));
const server = values.url ? { url: values.url, stop: async () => {} } : await startPostgres();
try {
  await writeModules();
  const heads = ["table", "batches", "krow/s", "krow per CPU s", "× best fixed", "peak", "budget"];
  process.stdout.write(`| ${heads.join(" | ")} |\n|${" --- |".repeat(heads.length)}\n`);
  for (const [table, query] of Object.entries(tables)) {
    const names = Object.keys(contenders) as Contender[];
    const results = new Map<Contender, Result[]>(names.map((name) => [name, []]));
    for (let run = 0; run < runs; run += 1)
      for (const name of names) results.get(name)!.push(await runOnce(query, contenders[name]));
    printTable(table, results);
  }
} finally {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

/** As plain JavaScript: a run that takes types away itself would weigh 15 MiB more. */
async function writeModules(): Promise<void> {
  const text = await readFile(join(import.meta.dirname, "fixed-batches.ts"), "utf8");
  const placed = stripTypeScriptTypes(text).replace(
    /from "([a-z-]+)"/g,
    (_, name: string) => `from ${JSON.stringify(import.meta.resolve(name))}`,
  );
  await writeFile(join(folder, "fixed-batches.mjs"), placed);
  await writeFile(join(folder, "touch-row.mjs"), "export default (row) => row;\n");
}

async function runOnce(query: string, rows: number | undefined): Promise<Result> {
  const yaml = join(folder, "export.yaml");
  const printed = join(folder, "summary.json");
  const config = { url: server.url, query };
  const source = rows ? { "./fixed-batches.mjs": { ...config, rows } } : { postgres: config };
  const stages = [
    source,
    { map: "./touch-row.mjs" },
    { serialize: "ndjson" },
    { chunk: "1MiB" },
    { compress: "zstd" },
    { encrypt: "none" },
    { spool: join(folder, "spool") },
    { upload: join(folder, "out") },
  ];
  await writeFile(yaml, JSON.stringify({ name: "batches", memory: "96MiB", stages }));
  const { clientSeconds, peakRssBytes } = await measure(
    `${process.execPath} ${bin} run ${yaml} --json --quiet > ${printed}`,
    { env: { XDG_STATE_HOME: join(folder, "state") } },
  );
  const summary = JSON.parse(await readFile(printed, "utf8")) as RunSummary;
  await rm(join(folder, "out"), { recursive: true, force: true });
  return {
    rows: summary.rows,
    seconds: summary.seconds,
    cpuSeconds: clientSeconds,
    peakBytes: Math.max(summary.peakRssBytes, peakRssBytes),
    budgetBytes: summary.memoryBudgetBytes,
  };
}

function printTable(table: string, results: ReadonlyMap<Contender, readonly Result[]>): void {
  const speed = (name: Contender) =>
    median(results.get(name)!.map(({ rows, cpuSeconds }) => rows / cpuSeconds / 1000));
  const fixed = [...results.keys()].filter((name) => contenders[name] !== undefined);
  const best = Math.max(...fixed.map(speed));
  for (const [name, of] of results) {
    const { budgetBytes } = of[0]!;
    const peak = Math.max(...of.map(({ peakBytes }) => peakBytes));
    const cells = [
      table,
      name,
      median(of.map(({ rows, seconds }) => rows / seconds / 1000)).toFixed(1),
      speed(name).toFixed(1),
      (speed(name) / best).toFixed(2),
      `${formatBytes(peak)}${peak > budgetBytes ? " **breach**" : ""}`,
      formatBytes(budgetBytes),
    ];
    process.stdout.write(`| ${cells.join(" | ")} |\n`);
  }
}
