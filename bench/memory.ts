/**
 * Is the peak memory of a run flat, whatever the size of the result and the width of its rows?
 *
 *   node bench/memory.ts [--largest 1GiB]
 *
 * Every line is a run of the command in a process of its own; its peak is the kernel's VmHWM, as the summary tells it.
 * The ledger is what `plan` promised before the run.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createKey } from "../prove/keys.ts";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import type { PlanReport } from "../src/pipeline/plan-types.ts";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { formatBytes } from "../src/stages/atoms.ts";

const MB = 1e6;
const bin = join(import.meta.dirname, "..", "bin", "spillway.js");
const { values } = parseArgs({ options: { largest: { type: "string", default: "1000" } } });
const largestMB = Number(values.largest);

interface Case {
  readonly name: string;
  readonly query: string;
}

/** Rows of about `width` bytes, `totalMB` in all; text that compresses about as records do. */
const rowsOf = (width: number, totalMB: number): string => {
  const rows = Math.max(1, Math.round((totalMB * MB) / width));
  const text =
    width < 60 ? "'x'" : `repeat(md5(i::text), ${Math.max(1, Math.round((width - 30) / 32))})`;
  return `select i as id, ${text} as body from generate_series(1, ${rows}) i`;
};

const cases: readonly Case[] = [
  ...[10, 100, 1000, 10_000]
    .filter((totalMB) => totalMB <= largestMB)
    .map((totalMB) => ({ name: `300 B rows, ${totalMB} MB`, query: rowsOf(300, totalMB) })),
  ...[20, 2000, 20_000, 200_000, 1_000_000, 20_000_000].map((width) => ({
    name: `${formatBytes(width)} rows, 200 MB`,
    query: rowsOf(width, 200),
  })),
  {
    name: "300 B rows, then 30 KB rows",
    query: `select * from (${rowsOf(300, 100)}) a union all select * from (${rowsOf(30_000, 100)}) b`,
  },
];

const folder = await mkdtemp(join(tmpdir(), "spillway-memory-"));
const server = await startPostgres();
try {
  const { recipient } = await createKey();
  process.stdout.write(
    "| rows | records | seconds | peak RSS | ledger | budget |\n| --- | --- | --- | --- | --- | --- |\n",
  );
  for (const { name, query } of cases) {
    const yaml = join(folder, "export.yaml");
    const stages = [
      { postgres: { url: server.url, query } },
      { serialize: "ndjson" },
      { chunk: "1MiB" },
      { compress: "zstd" },
      { encrypt: { to: recipient } },
      { spool: join(folder, "spool") },
      { upload: join(folder, "out") },
    ];
    await writeFile(yaml, JSON.stringify({ name: "memory", stages }));
    const summary = command("run", yaml) as RunSummary;
    const { ledger } = command("plan", yaml) as PlanReport;
    const promised = ledger.reduce((sum, { bytes }) => sum + bytes, 0);
    const cells = [
      name,
      formatBytes(summary.bytesIn),
      summary.seconds.toFixed(1),
      formatBytes(summary.peakRssBytes),
      formatBytes(promised),
      formatBytes(summary.memoryBudgetBytes),
    ];
    process.stdout.write(`| ${cells.join(" | ")} |\n`);
    await rm(join(folder, "out"), { recursive: true, force: true });
  }
} finally {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

function command(verb: string, yaml: string): unknown {
  const env = { ...process.env, XDG_STATE_HOME: join(folder, "state") };
  const text = execFileSync(process.execPath, [bin, verb, yaml, "--json"], {
    env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return JSON.parse(text.toString());
}
