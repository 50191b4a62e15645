/**
 * Resources a second from a FHIR server, through pages of a search, through one page of everything, and through a bulk
 * export: against the bytes alone, the program one would write first, and SMART's own where it is installed.
 *
 *   npm run -s build && node bench/fhir.ts [--resources 200000] [--runs 3]
 *
 * All are whole processes with their start, and all of ours is JavaScript as it is shipped: the clients are bundled as the
 * command is. Each must give every resource.
 */
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { medianOf, printTable } from "./contest.ts";
import type { FhirContender, Reading } from "./fhir-contender.ts";
import { peersOf } from "./fhir-peers.ts";
import { writeJob } from "./job.ts";
import { leanEnv, leanFlags } from "./lean.ts";
import { measure, type Measured } from "./measure.ts";

const { values } = parseArgs({
  options: {
    resources: { type: "string", default: "200000" },
    runs: { type: "string", default: "3" },
  },
});
const resources = Number(values.resources);
const largestPage = 100_000;
const to = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
const node = process.execPath;

/** As a run starts where JavaScript works on every row. */
const startLean = [
  ...Object.entries(leanEnv).map(([name, value]) => `${name}=${value}`),
  node,
  ...leanFlags.filter((flag) => flag !== "--no-opt"),
].join(" ");

const readings: readonly Reading[] = [
  { name: "search, pages of 1000", mode: "search", count: 1000 },
  {
    name: `search, pages of ${largestPage}`,
    mode: "search",
    count: largestPage,
  },
  { name: "bulk, 4 files", mode: "bulk", count: 1000 },
];

const server = spawn(node, [join(import.meta.dirname, "fhir-server.ts"), values.resources], {
  stdio: ["ignore", "pipe", "inherit"],
});
const port = await new Promise<string>((ready) =>
  server.stdout.once("data", (text: Buffer) => ready(text.toString().trim())),
);
const base = `http://127.0.0.1:${port}/fhir`;
const folder = await mkdtemp(join(tmpdir(), "bench-fhir-"));

try {
  const head = ["resources/s", "resources per CPU s", "× textbook, per CPU s", "peak RSS"];
  const rows = [["read as", "client", ...head]];
  const client = bundleClient();
  for (const reading of readings) {
    const contenders = await contendersOf(reading, client);
    rows.push(...tell(reading, await compare(contenders)));
  }
  printTable(rows);
} finally {
  server.kill();
  await rm(folder, { recursive: true });
}

/** Starts as fast as what is shipped does; from its sources it would take a fifth of a second more. */
function bundleClient(): string {
  const esbuild = join(import.meta.dirname, "../node_modules/.bin/esbuild");
  const source = join(import.meta.dirname, "fhir-client.ts");
  const how = "--bundle --splitting --format=esm --platform=node --log-level=warning";
  const outdir = join(folder, "client");
  execFileSync(esbuild, [source, ...how.split(" "), `--outdir=${outdir}`], { stdio: "inherit" });
  return join(outdir, "fhir-client.js");
}

async function contendersOf(reading: Reading, client: string): Promise<FhirContender[]> {
  const { mode, count } = reading;
  const printed = join(folder, "printed");
  const run = (of: string, start = node) =>
    `${start} ${client} ${of} ${mode} ${base} ${count} > ${printed}`;
  const given = (file: string, key: string) => () =>
    (JSON.parse(readFileSync(file, "utf8")) as Record<string, number>)[key]!;
  const clientGave = given(printed, "resources");
  const source =
    mode === "bulk"
      ? { "fhir-bulk": { url: base, export: "system" } }
      : { fhir: { url: base, search: "Observation", count } };
  const records = [source, { serialize: "ndjson" }];
  const job = await writeJob(folder, { name: `${mode}-${count}`, records, to, memory: "112MiB" });
  return [
    { name: "transport (bytes to nowhere)", script: run("transport") },
    {
      name: "textbook (fetch, JSON.parse, JSON.stringify)",
      script: run("textbook"),
      given: clientGave,
    },
    {
      name: "spillway, records to nowhere",
      script: run("spillway", startLean),
      given: clientGave,
    },
    {
      name: "spillway run, sealed to a folder",
      script: `XDG_STATE_HOME=${folder} ${job.script}`,
      leaves: job.out,
      given: given(job.summary, "rows"),
    },
    ...(await peersOf(reading, base, folder)),
  ];
}

type Runs = readonly { readonly name: string; readonly rounds: readonly Measured[] }[];

/** Contenders take turns; the first round warms up. */
async function compare(contenders: readonly FhirContender[]): Promise<Runs> {
  const runs = contenders.map(({ name }) => ({ name, rounds: [] as Measured[] }));
  for (let round = 0; round <= Number(values.runs); round += 1)
    for (const [at, { name, script, leaves, given }] of contenders.entries()) {
      const measured = await measure(script);
      if (round > 0) runs[at]!.rounds.push(measured);
      if (given && given() !== resources) throw new Error(`${name} gave ${given()} resources`);
      if (leaves !== undefined) await rm(leaves, { recursive: true });
    }
  return runs;
}

function tell({ name }: Reading, runs: Runs): string[][] {
  const cpu = (rounds: readonly Measured[]) => medianOf(rounds, (one) => one.clientSeconds);
  const [, textbook] = runs;
  return runs.map(({ name: client, rounds }) => {
    const perSecond = resources / medianOf(rounds, ({ seconds }) => seconds);
    const perCpu = resources / cpu(rounds);
    const times = cpu(textbook!.rounds) / cpu(rounds);
    const peak = Math.max(...rounds.map(({ peakRssBytes }) => peakRssBytes)) / 2 ** 20;
    const figures = [perSecond.toFixed(0), perCpu.toFixed(0), times.toFixed(2)];
    return [name, client, ...figures, `${peak.toFixed(0)} MiB`];
  });
}
