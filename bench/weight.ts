/**
 * What does the process weigh: Node itself, what is loaded, a thread, a whole run with this and that?
 *
 *   npm run -s build && node bench/weight.ts [--rows 300000] [--runs 3]
 *
 * Parts are measured in processes that do nothing else, after they have settled (`smaps_rollup`: private memory, and pages of
 * the program's file, which all its processes share). Runs are the command; the peak is the kernel's VmHWM.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import type { PlanReport } from "../src/pipeline/plan-types.ts";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { startOtlpReceiver } from "../test/servers/otlp-receiver.ts";
import { startScriptedS3 } from "../test/servers/scripted-s3.ts";
import { measure, median } from "./measure.ts";
import { openServer } from "./server.ts";
import { leanEnv, leanFlags } from "./lean.ts";

const execute = promisify(execFile);
const root = join(import.meta.dirname, "..");
const bin = join(root, "bin", "spillway.js");
const { values } = parseArgs({
  options: { rows: { type: "string", default: "300000" }, runs: { type: "string", default: "3" } },
});
const runs = Number(values.runs);
const MiB = 1024 * 1024;

const library = JSON.stringify(join(root, "dist/js/index.js"));
const threadOf = (script: string) =>
  `new (process.getBuiltinModule("worker_threads").Worker)(${JSON.stringify(script)}, { eval: true })`;
const sealing = `${["crypto", "zlib"].map((name) => `require("${name}");`).join("")}setInterval(() => {}, 1e6)`;
/** A hot loop, so that the optimizing compiler has something to do. */
const hot = "let s = 0; for (let i = 0; i < 3e7; i++) s = (s * 31 + i) | 0;";

const parts: readonly (readonly [name: string, script: string, flags: readonly string[]])[] = [
  ["Node, as it comes", "", []],
  ["… with an optimized loop", hot, []],
  ["Node, lean", "", leanFlags],
  ["… with the same loop", hot, leanFlags],
  ["… with one idle thread", threadOf("setInterval(() => {}, 1e6)"), leanFlags],
  ["… with a thread that has crypto and zlib", threadOf(sealing), leanFlags],
  ['… with `require("http")`', 'require("http")', leanFlags],
  ['… with `import("http")`', 'import("http")', leanFlags],
  ["… with all of spillway loaded", `import(${library})`, leanFlags],
];

const look = `setTimeout(() => {
  const text = require("fs").readFileSync("/proc/self/smaps_rollup", "latin1");
  const of = (name) => Number(new RegExp("^" + name + ":\\\\s+(\\\\d+)", "m").exec(text)[1]) / 1024;
  console.log(JSON.stringify([of("Rss"), of("Anonymous")]));
  process.exit();
}, 500)`;

const inMiB = (bytes: number) => (bytes / MiB).toFixed(1);
const row = (...cells: readonly string[]) => process.stdout.write(`| ${cells.join(" | ")} |\n`);

row("a process that is", "MiB", "private", "of the file");
row("---", "---", "---", "---");
for (const [name, script, flags] of parts) {
  const env = { ...process.env, ...leanEnv };
  const { stdout } = await execute(process.execPath, [...flags, "-e", `${script};${look}`], {
    env,
  });
  const [rss, own] = JSON.parse(stdout) as [number, number];
  row(name, rss.toFixed(1), own.toFixed(1), (rss - own).toFixed(1));
}

const folder = await mkdtemp(join(tmpdir(), "spillway-weight-"));
const server = await openServer();
const receiver = await startOtlpReceiver();
const store = await startScriptedS3("bucket");
try {
  const { recipient } = await createKey();
  const light = { telemetry: { otlp: receiver.url } };
  const full = { telemetry: { otlp: receiver.url, sdk: "node" } };
  const keys = { accessKeyId: "id", secretAccessKey: "${env:BENCH_SECRET}" };
  const s3 = { to: "s3://bucket/weight", endpoint: store.endpoint, region: "eu", ...keys };
  const cases: readonly (readonly [string, object, object | string])[] = [
    ["to a folder", {}, join(folder, "out")],
    ["… with telemetry, `sdk: light`", light, join(folder, "out")],
    ["… with telemetry, `sdk: node`", full, join(folder, "out")],
    ["to S3", {}, s3],
    ["to S3, with telemetry, `sdk: light`", light, s3],
  ];
  process.stdout.write("\n");
  row(
    "a whole run",
    "1 row: ms",
    "CPU s",
    "peak MiB",
    `${values.rows} rows: CPU s`,
    "peak MiB",
    "ledger",
  );
  row(...Array.from({ length: 7 }, () => "---"));
  for (const [name, extra, upload] of cases) {
    const spec = (rows: number) => ({
      name: "weight",
      memory: "192MiB",
      stages: [
        { postgres: { url: server.url, query: rowsQuery(rows) } },
        { serialize: "ndjson" },
        { chunk: "1MiB" },
        { compress: "zstd" },
        { encrypt: { to: recipient } },
        { spool: join(folder, "spool") },
        { upload },
      ],
      ...extra,
    });
    const one = await exportMedian(spec(1));
    const many = await exportMedian(spec(Number(values.rows)));
    const { ledger } = (await command("plan")) as PlanReport;
    const promised = ledger.reduce((sum, { bytes }) => sum + bytes, 0);
    row(
      name,
      (one.seconds * 1000).toFixed(0),
      one.cpuSeconds.toFixed(2),
      inMiB(one.peakRssBytes),
      many.cpuSeconds.toFixed(2),
      inMiB(many.peakRssBytes),
      inMiB(promised),
    );
  }
} finally {
  await store.stop();
  await receiver.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

/** Rows of 300 bytes, with texts that compress about as records do. */
function rowsQuery(rows: number): string {
  return `select i as id, repeat(md5(i::text), 8) as body from generate_series(1, ${rows}) i`;
}

interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

/** Medians over the runs of one pipeline. */
async function exportMedian(spec: object): Promise<Cost> {
  await writeFile(join(folder, "export.yaml"), JSON.stringify(spec));
  const costs: Cost[] = [];
  for (let i = 0; i < runs; i += 1) {
    const { seconds, clientSeconds: cpuSeconds } = await measure(script("run"), {
      server,
      env: env(),
    });
    const { peakRssBytes } = (await answer()) as RunSummary;
    costs.push({ seconds, cpuSeconds, peakRssBytes });
  }
  return {
    seconds: median(costs.map(({ seconds }) => seconds)),
    cpuSeconds: median(costs.map(({ cpuSeconds }) => cpuSeconds)),
    peakRssBytes: median(costs.map(({ peakRssBytes }) => peakRssBytes)),
  };
}

async function command(verb: string): Promise<unknown> {
  await measure(script(verb), { server, env: env() });
  return answer();
}

function script(verb: string): string {
  return `${process.execPath} ${bin} ${verb} ${folder}/export.yaml --json > ${folder}/answer.json 2> ${folder}/log`;
}

function env(): Record<string, string> {
  return { XDG_STATE_HOME: join(folder, "state"), BENCH_SECRET: "secret" };
}

async function answer(): Promise<unknown> {
  return JSON.parse(await readFile(join(folder, "answer.json"), "utf8"));
}
