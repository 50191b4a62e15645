/** Runs one case of `bench/memory` a few times and gives the worst of what the kernel and the summary say. */
import { execFileSync } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { LedgerLine, PlanReport } from "../src/pipeline/plan-types.ts";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { connect } from "../src/stages/destinations/s3-request.ts";
import { targetOf } from "../src/stages/destinations/s3-target.ts";
import { rgwInstalled, startRgw, type Rgw } from "../test/servers/rgw.ts";
import { bin, ndjsonOf, writeJob } from "./job.ts";
import { measure } from "./measure.ts";
import type { MemoryCase } from "./memory-cases.ts";
import type { BenchServer } from "./server.ts";

export interface Peak {
  /** Of records. */
  readonly bytes: number;
  readonly seconds: number;
  /** The worst of all runs. */
  readonly rssBytes: number;
  readonly anonBytes: number;
  readonly ledgerBytes: number;
  readonly ledger: readonly LedgerLine[];
  readonly budgetBytes: number;
}

export interface Runner {
  readonly folder: string;
  readonly server: BenchServer;
  /** An age recipient. */
  readonly recipient: string;
  readonly otlp: string;
  /** The server's, when it speaks TLS. */
  readonly certificate: string | undefined;
  readonly runs: number;
}

/** Gives the peak of a case, or why it cannot be measured here. */
export function createRunner(runner: Runner): (measured: MemoryCase) => Promise<Peak | string> {
  return async (measured) => {
    if (measured.to === "s3" && !rgwInstalled()) return "no Ceph RGW here";
    if (measured.tls && !runner.certificate) return "no openssl here";
    let worst: Peak | undefined;
    for (let run = 0; run < runner.runs; run += 1) {
      const peak = await runOnce(runner, measured);
      const largest = (key: "rssBytes" | "anonBytes" | "seconds") =>
        Math.max(peak[key], worst?.[key] ?? 0);
      worst = {
        ...peak,
        rssBytes: largest("rssBytes"),
        anonBytes: largest("anonBytes"),
        seconds: largest("seconds"),
      };
    }
    return worst ?? "no run was asked for";
  };
}

async function runOnce(runner: Runner, measured: MemoryCase): Promise<Peak> {
  const { folder, server, otlp } = runner;
  const { telemetry } = measured;
  // A store of its own for each run: it holds all in memory.
  const store = measured.to === "s3" ? await openStore() : undefined;
  try {
    const job = await writeJob(folder, {
      name: "memory",
      records: ndjsonOf(sourceUrl(runner, measured), measured.query),
      to: runner.recipient,
      ...(store && { upload: { to: "s3://exports/memory" } }),
      ...(telemetry !== "off" && { telemetry: { otlp, sdk: telemetry } }),
      // The full SDK does not fit the default, and is not promised to.
      ...(telemetry === "node" && { memory: "128MiB" }),
    });
    const env = { XDG_STATE_HOME: join(folder, "state"), ...(store && s3Env(store)) };
    const plan = [process.execPath, [bin, "plan", job.yaml, "--json"]] as const;
    const planned = execFileSync(...plan, { env: { ...process.env, ...env } }).toString();
    const { ledger } = JSON.parse(planned) as PlanReport;
    const kernel = await measure(job.script, { server, env });
    const summary = JSON.parse(await readFile(job.summary, "utf8")) as RunSummary;
    await rm(job.out, { recursive: true, force: true });
    return {
      bytes: summary.bytesIn,
      seconds: kernel.seconds,
      // One is read when all but telemetry has ended, the other is sampled until the process has.
      rssBytes: Math.max(summary.peakRssBytes, kernel.peakRssBytes),
      anonBytes: kernel.peakAnonBytes,
      ledgerBytes: ledger.reduce((sum, { bytes }) => sum + bytes, 0),
      ledger,
      budgetBytes: summary.memoryBudgetBytes,
    };
  } finally {
    await store?.stop();
  }
}

/** A server that offers TLS is asked for it, unless the URL declines. */
function sourceUrl({ server, certificate }: Runner, { tls }: MemoryCase): string {
  if (!certificate) return server.url;
  const host = server.url.replace("127.0.0.1", "localhost");
  return tls
    ? `${host}?sslmode=verify-full&sslrootcert=${certificate}`
    : `${server.url}?sslmode=disable`;
}

async function openStore(): Promise<Rgw> {
  const store = await startRgw();
  const bucket = connect(targetOf(new URL("s3://exports"), store, {}), 10_000);
  const signal = AbortSignal.timeout(10_000);
  await bucket.send({ method: "PUT", headers: { "content-length": "0" } }, signal);
  bucket.close();
  return store;
}

const s3Env = ({ endpoint, accessKeyId, secretAccessKey }: Rgw) => ({
  AWS_ENDPOINT_URL: endpoint,
  AWS_ACCESS_KEY_ID: accessKeyId,
  AWS_SECRET_ACCESS_KEY: secretAccessKey,
  AWS_REGION: "us-east-1",
});
