/**
 * Is the peak memory of a run what was promised, and flat, whatever the size of the result and the width of its rows?
 *
 *   node bench/memory.ts [--largest 1|10] [--gigabyte 1000] [--runs 3]
 *
 * Every run is the command in a process of its own; its peak is the kernel's VmHWM, RssAnon (private memory) is sampled, and
 * of several runs the worst counts. The ledger is what `plan` promises. `--largest 10` adds the run of 10 GB, which takes ten
 * times as long as that of 1 GB; `--gigabyte 100` makes a gigabyte of 100 MB, for a quick look.
 * S3 is a real store (Ceph RGW) and TLS a real certificate (`openssl`), where this machine has them.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatBytes } from "../src/stages/atoms.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { startOtlpReceiver } from "../test/servers/otlp-receiver.ts";
import { printTable } from "./contest.ts";
import { buildWhenChanged } from "./job.ts";
import { partCases, sizeCases, widthCases, type MemoryCase } from "./memory-cases.ts";
import { createRunner, type Peak } from "./memory-runs.ts";
import { openServer } from "./server.ts";
import { createTable, gigabyteRows } from "./tables.ts";
import { makeCertificate } from "./tls.ts";

const { values } = parseArgs({
  options: {
    largest: { type: "string", default: "1" },
    gigabyte: { type: "string", default: "1000" },
    runs: { type: "string", default: "3" },
  },
});
const gigabyteMB = Number(values.gigabyte);
const rows = Math.round((gigabyteRows.results * gigabyteMB) / 1000);
buildWhenChanged();
const folder = await mkdtemp(join(tmpdir(), "spillway-memory-"));
const certificate = makeCertificate(folder);
const server = await openServer(undefined, certificate?.settings);
const receiver = await startOtlpReceiver();
try {
  await createTable(server.url, { name: "results", rows });
  const { recipient } = await createKey();
  const run = createRunner({
    folder,
    server,
    recipient,
    otlp: receiver.url,
    certificate: certificate?.path,
    runs: Number(values.runs),
  });

  const sizes = await measureAll(sizeCases(rows, Number(values.largest)), run);
  printSlope(sizes);
  await measureAll(widthCases(gigabyteMB / 5), run);
  printParts(await measureAll(partCases(rows), run));
} finally {
  await server.stop();
  await receiver.close();
  await rm(folder, { recursive: true, force: true });
}

type Run = (measured: MemoryCase) => Promise<Peak | string>;

/** Measures and prints a table; gives the peaks by name. */
async function measureAll(cases: readonly MemoryCase[], run: Run): Promise<Map<string, Peak>> {
  const peaks = new Map<string, Peak>();
  const lines: string[][] = [];
  for (const measured of cases) {
    const peak = await run(measured);
    const { name, telemetry, to = "folder" } = measured;
    process.stderr.write(`${name}, ${telemetry}, ${to}\n`);
    const head = [name, telemetry, to];
    if (typeof peak === "string") {
      lines.push([...head, peak, "", "", "", "", ""]);
      continue;
    }
    peaks.set(keyOf(measured), peak);
    const { bytes, seconds, rssBytes, anonBytes, ledgerBytes, budgetBytes } = peak;
    const over = rssBytes - budgetBytes;
    const kept = `${formatBytes(budgetBytes)} ${over <= 0 ? "kept" : `passed by ${formatBytes(over)}`}`;
    const figures = [bytes, rssBytes, anonBytes, ledgerBytes].map((value) => formatBytes(value));
    lines.push([...head, figures[0]!, seconds.toFixed(1), ...figures.slice(1), kept]);
  }
  const head = [
    "rows",
    "telemetry",
    "to",
    "records",
    "seconds",
    "peak RSS",
    "RssAnon",
    "ledger",
    "budget",
  ];
  printTable([head, ...lines]);
  return peaks;
}

function keyOf({ name, telemetry, to = "folder" }: MemoryCase): string {
  return `${name}, ${telemetry}, ${to}`;
}

/** The goals: a gigabyte in 90 MiB, and ten of them in 8 MiB more at most. */
function printSlope(peaks: ReadonlyMap<string, Peak>): void {
  const all = [...peaks.values()].toSorted((a, b) => a.bytes - b.bytes);
  const [smallest, gigabyte] = [all[0]!, all[1]!];
  const largest = all.at(-1) ?? gigabyte;
  const more = (to: Peak, from: Peak) =>
    `${((to.rssBytes - from.rssBytes) / 2 ** 20).toFixed(1)} MiB`;
  printTable([
    ["goal", "wanted", "reached"],
    ["peak RSS, telemetry light, 1 GB", "≤ 90 MiB", formatBytes(gigabyte.rssBytes)],
    ["more at 1 GB than at 0.1 GB", "-", more(gigabyte, smallest)],
    [
      "more at 10 GB than at 1 GB",
      "≤ 8 MiB",
      largest === gigabyte ? "not run" : more(largest, gigabyte),
    ],
  ]);
}

/** What each part of the ledger says against what taking it away saves. */
function printParts(peaks: ReadonlyMap<string, Peak>): void {
  const peak = (name: string) => peaks.get(name);
  const saves = (whole: string, without: string) => {
    const [a, b] = [peak(whole), peak(without)];
    return a && b ? formatBytes(Math.max(0, a.rssBytes - b.rssBytes)) : "not measured";
  };
  const promised = (of: string, ...names: string[]) => {
    const lines = peak(of)?.ledger.filter(({ name }) => names.includes(name)) ?? [];
    return formatBytes(lines.reduce((sum, { bytes }) => sum + bytes, 0));
  };
  const whole = "whole table, off, folder";
  const fixed = ["runtime", "workers", "telemetry"];
  const data = (peak(whole)?.ledger ?? [])
    .map(({ name }) => name)
    .filter((name) => !fixed.includes(name));
  printTable([
    ["part", "ledger", "measured", "as"],
    [
      "runtime and workers",
      promised(whole, "runtime", "workers"),
      formatBytes(peak("one row, off, folder")?.rssBytes ?? 0),
      "peak of a run of one row",
    ],
    [
      `data: ${data.join(", ")}`,
      promised(whole, ...data),
      saves(whole, "one row, off, folder"),
      "whole table less one row",
    ],
    [
      "telemetry: light",
      promised("whole table, light, folder", "telemetry"),
      saves("whole table, light, folder", whole),
      "with it less without",
    ],
    [
      "telemetry: node",
      promised("whole table, node, folder", "telemetry"),
      saves("whole table, node, folder", whole),
      "with it less without",
    ],
    ["S3", "in runtime", saves("whole table, off, s3", whole), "S3 less folder"],
    [
      "TLS",
      "in runtime",
      saves("whole table over TLS, light, s3", "whole table, light, s3"),
      "with it less without",
    ],
  ]);
}
