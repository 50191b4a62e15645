/**
 * A program that is weighed: loads what any export loads, starts telemetry as its arguments ask, makes the spans of many
 * pages (500 a second) and prints its peak memory and the time it computed. `node weigh.ts off|light|node|prometheus <otlp url> <pages>`.
 */
import { readFileSync } from "node:fs";
import { registerGauges } from "../../src/telemetry/gauges.ts";
import { startTelemetry } from "../../src/telemetry/sdk.ts";
import { watchRun } from "../../src/telemetry/watch.ts";
import { idleSources } from "./idle-sources.ts";

const [mode = "off", otlp = "", pages = "0"] = process.argv.slice(2);

// What an export loads whether or not it is traced; shared parts must not be counted as telemetry's.
await import("../../src/stages/destinations/schemes.ts");
await import("../../src/pipeline/load.ts");
await import("../../src/workers/pool.ts");
await import("pg");

const config = {
  off: undefined,
  light: { otlp },
  node: { otlp, sdk: "node" as const },
  prometheus: { prometheus: "127.0.0.1:19464" },
}[mode];
const telemetry = await startTelemetry(config, {});
const watch = watchRun({ telemetry, pipeline: "weigh", runId: "r" });
if (telemetry.enabled) registerGauges(telemetry.meter, { ...idleSources, ...watch });
await passPages(Number(pages));
watch.end();
const { droppedSpans } = await telemetry.shutdown(2000);

const { user, system } = process.cpuUsage();
const [, peakKiB = "0"] = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
process.stdout.write(
  JSON.stringify({
    peakRssBytes: Number(peakKiB) * 1024,
    cpuMillis: (user + system) / 1000,
    droppedSpans,
  }) + "\n",
);

async function passPages(count: number): Promise<void> {
  const seal = { name: "seal", takes: "pages", gives: "sealed" } as const;
  const spool = { name: "spool", takes: "sealed", gives: "durable" } as const;
  const upload = { name: "upload", takes: "durable", gives: "receipts" } as const;
  const sealed = watch.wrap(seal, makePages(count), (input) => input);
  const durable = watch.wrap(spool, sealed, (input) => input);
  for await (const receipt of watch.wrap(upload, durable, (input) => input)) void receipt;
}

async function* makePages(count: number): AsyncGenerator {
  const content = new Uint8Array(0);
  for (let page = 0; page < count; page += 1) {
    const now = Date.now();
    const work = { startMillis: now, endMillis: now };
    yield { page, records: 1, bytes: 1, content, sealedBytes: 1, work };
    if (page % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
