/** One export with all its folders, where a proof may kill it or let its disk fail; and what must hold of it in the end. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import type { S3Options } from "../../src/stages/destinations/destination.ts";
import { ordersVariable, type Act, type Orders } from "./orders.ts";

const bin = join(import.meta.dirname, "../..", "bin", "spillway.js");
const preload = pathToFileURL(join(import.meta.dirname, "preload.ts")).href;
const pipeline = "job";

/** Longer than any command takes on a busy machine; one that hangs is a failure. */
const deadlineMillis = 120_000;

export interface Key {
  readonly identity: string;
  readonly recipient: string;
}

export interface HomeInit {
  readonly folder: string;
  readonly key: Key;
  readonly source: string;
  readonly chunk: string;
  /** `file`, `tar`, or the options of a store. */
  readonly to: "file" | "tar" | S3Options;
}

export interface Ended {
  /** An exit code, or the signal. */
  readonly exit: string;
  readonly error: string;
  /** What was asked of the disk; `reached` where a point was given. */
  readonly log: readonly string[];
}

export interface Planned {
  readonly at?: string;
  readonly act?: Act;
  /** Told how to kill the command, when it has started. */
  readonly onStart?: (kill: () => void) => void;
}

export interface Home {
  readonly folder: string;
  /** Empties everything but the source; puts `template` there where that is given. */
  reset(template?: string): Promise<void>;
  run(orders?: Planned): Promise<Ended>;
  /** Runs at the destination, where none is under way any more; else 0. */
  countFinished(): Promise<number>;
  /** How many runs there are, all verified and restored; throws what is wrong with one, or what was left behind. */
  judge(expected: string, mayLeaveNames?: boolean): Promise<number>;
}

export async function openHome({ folder, key, source, chunk, to }: HomeInit): Promise<Home> {
  const yaml = join(folder, "job.yaml");
  const log = join(folder, "syscalls.log");
  const [spool, state, out] = ["spool", "state", "out"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const s3 = typeof to === "object" ? to : undefined;
  const destination = s3 ? "s3://bucket/out" : to === "tar" ? `tar://${out}/job.tar` : out;
  const stages = [
    { ndjson: source },
    { serialize: "ndjson" },
    { chunk },
    { compress: "zstd" },
    { encrypt: { to: key.recipient } },
    { spool: { dir: spool, fullTimeout: "300ms" } },
    {
      upload: {
        to: destination,
        ...(s3 && { endpoint: s3.endpoint, timeout: "5s", concurrency: 64 }),
      },
    },
  ];
  await mkdir(folder, { recursive: true });
  // JSON is YAML.
  await writeFile(yaml, JSON.stringify({ name: pipeline, stages }));

  const readOptions = { identity: key.identity, ...(s3 && { s3 }) };
  const runs = async (): Promise<string[]> => {
    if (to === "tar") return existsSync(`${out}/job.tar`) ? [destination] : [];
    if (to !== "file") return [destination];
    const names = await readdir(join(out, pipeline)).catch(() => []);
    return names.map((name) => join(out, pipeline, name));
  };

  return {
    folder,
    async reset(template) {
      for (const path of [spool, state, out]) await rm(path, { recursive: true, force: true });
      if (template === undefined) return;
      for (const name of ["spool", "state", "out"])
        await cp(join(template, name), join(folder, name), { recursive: true }).catch(() => {});
    },
    async run(planned) {
      await rm(log, { force: true });
      const { onStart, ...plan } = planned ?? {};
      const orders: Orders = { roots: { spool, state, out }, log, ...plan };
      const env: NodeJS.ProcessEnv = { ...process.env, ...credentials(s3), XDG_STATE_HOME: state };
      if (planned)
        Object.assign(env, {
          NODE_OPTIONS: `--import=${preload}`,
          [ordersVariable]: JSON.stringify(orders),
        });
      const { exit, error } = await runCommand(["run", yaml, "--quiet"], env, onStart);
      const text = await readFile(log, "utf8").catch(() => "");
      return { exit, error, log: text.split("\n").filter(Boolean) };
    },
    async countFinished() {
      const names = await readdir(join(spool, pipeline)).catch(() => ["run.json"]);
      return names.includes("run.json") ? 0 : (await runs()).length;
    },
    async judge(expected, mayLeaveNames = false) {
      const found = await runs();
      for (const url of found) await judgeRun(url, expected, readOptions);
      if (!mayLeaveNames) await judgeLeftovers({ spool, state, out });
      return found.length;
    },
  };
}

/** @throws Error that says what is wrong with a run that should be complete */
async function judgeRun(
  url: string,
  expected: string,
  options: { readonly identity: string; readonly s3?: S3Options },
) {
  const report = await verifyExport(url, { level: "full", ...options });
  if (!report.ok) throw new Error(`verify finds in ${url}: ${JSON.stringify(report.problems[0])}`);
  const hash = createHash("sha256");
  const to = new Writable({
    write(bytes: Buffer, _encoding, done) {
      hash.update(bytes);
      done();
    },
  });
  await restoreExport(url, { to, ...options });
  if (hash.digest("hex") !== expected)
    throw new Error(`${url} restores to other rows than the source holds`);
}

async function judgeLeftovers({ spool, state, out }: Record<"spool" | "state" | "out", string>) {
  const inSpool = await readdir(join(spool, pipeline));
  const left = inSpool.filter(
    (name) => name !== "lock.db" && !/^last-[0-9a-f]{16}\.json$/.test(name),
  );
  const named = async (folder: string) =>
    (await readdir(folder, { recursive: true }).catch(() => [])).filter((name) =>
      /incoming|partial|[0-9a-f]{8}-[0-9a-f]{4}-/.test(name),
    );
  left.push(...(await named(state)), ...(await named(out)));
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
}

const credentials = (s3?: S3Options) =>
  s3 && { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey };

function runCommand(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  onStart?: Planned["onStart"],
): Promise<{ exit: string; error: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [bin, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      env,
    });
    onStart?.(() => child.kill("SIGKILL"));
    let error = "";
    child.stderr.on("data", (text: Buffer) => (error += text.toString()));
    const timer = setTimeout(() => child.kill("SIGABRT"), deadlineMillis);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ exit: String(signal ?? code), error: error.trim() });
    });
  });
}
