/** Everything a command may leave a secret in: what it says, what it writes, what it sends, and how the system shows it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, readFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { compareNames } from "../../src/stages/destinations/object-names.ts";
import type { Scene } from "./scene.ts";
import type { SecretCase } from "./secret-case.ts";

/** What was captured, and where. */
export interface Captured {
  readonly sink: string;
  readonly bytes: Buffer;
}

const command = join(import.meta.dirname, "../..", "bin", "spillway.js");
const pollMillis = 20;
const prometheusUrl = "http://127.0.0.1:29464/metrics";

export interface CommandRun {
  readonly exit: number;
  readonly captured: readonly Captured[];
}

/** Runs one command; while it runs, folders, process table and metrics are looked at again and again. */
export async function runCase(scene: Scene, one: SecretCase): Promise<CommandRun> {
  const before = await progressOf(scene);
  const child = spawn(process.execPath, [command, ...one.args], {
    cwd: join(scene.folder, "cwd"),
    env: { ...scene.env, ...one.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const captured: Captured[] = [];
  const keep = (sink: string) => (bytes: Buffer) => void captured.push({ sink, bytes });
  child.stdout.on("data", keep("standard output"));
  child.stderr.on("data", keep("standard error"));
  const closed = once(child, "close");
  let isOver = false;
  void closed.then(() => (isOver = true));
  const seen = new Set<string>();
  let isSignalled = false;
  while (!isOver) {
    captured.push(...(await lookAtProcess(child.pid!, one, seen)));
    captured.push(...(await lookAtFolders(scene, ["spool", "tmp"], seen)));
    captured.push(...(await scrape()));
    if (one.signal && !isSignalled && (await progressOf(scene)) !== before) {
      isSignalled = true;
      child.kill(one.signal);
    }
    await Promise.race([sleep(pollMillis), closed]);
  }
  const [code] = (await closed) as [number | null];
  captured.push(...(await lookAtFolders(scene, leftovers, new Set())));
  await removeReports(scene);
  captured.push(...lookAtServers(scene));
  return { exit: code ?? -1, captured: joinStreams(captured) };
}

/** What stays when the command has ended. `restored` is looked at apart: rows are meant to be there. */
const leftovers = ["spool", "tmp", "cwd", "state", "out", "restored"];

/** A canary may be torn by the edge of two pieces. */
function joinStreams(captured: readonly Captured[]): Captured[] {
  const isStream = ({ sink }: Captured) => sink.startsWith("standard");
  const streams = new Map<string, Buffer[]>();
  for (const { sink, bytes } of captured.filter(isStream))
    streams.set(sink, [...(streams.get(sink) ?? []), bytes]);
  return [
    ...captured.filter((one) => !isStream(one)),
    ...[...streams].map(([sink, parts]) => ({ sink, bytes: Buffer.concat(parts) })),
  ];
}

/** Command line, titles of process and threads; of the environment, what we were not given. */
async function lookAtProcess(pid: number, one: SecretCase, seen: Set<string>): Promise<Captured[]> {
  const folder = `/proc/${pid}`;
  const read = async (sink: string, path: string): Promise<Captured[]> => {
    const bytes = await readFile(join(folder, path)).catch(() => Buffer.alloc(0));
    const key = `${sink} ${bytes.toString("latin1")}`;
    if (bytes.length === 0 || seen.has(key)) return [];
    seen.add(key);
    return [{ sink, bytes }];
  };
  const threads = await readdir(join(folder, "task")).catch(() => []);
  const titles = await Promise.all(threads.map((id) => read("titles", `task/${id}/comm`)));
  const environment = await read("environment", "environ");
  return [
    ...(await read("command line", "cmdline")),
    ...titles.flat(),
    ...environment.map(({ sink, bytes }) => ({ sink, bytes: withoutGiven(bytes, one) })),
  ];
}

/** Its environment is the caller's business, as far as it came from there unchanged. */
function withoutGiven(environment: Buffer, { env = {} }: SecretCase): Buffer {
  const names =
    /^(?:DATABASE_URL|AWS_\w+|OTEL_EXPORTER_OTLP_HEADERS|BYSTANDER|SPILLWAY_PASSPHRASE)=/;
  const lines = environment.toString("latin1").split("\0");
  const own = lines.filter((line) => !names.test(line) && !Object.values(env).includes(line));
  return Buffer.from(own.join("\0"), "latin1");
}

async function lookAtFolders(
  scene: Scene,
  names: readonly string[],
  seen: Set<string>,
): Promise<Captured[]> {
  const captured: Captured[] = [];
  for (const name of names) {
    const root = join(scene.folder, name);
    const paths = await readdir(root, { recursive: true }).catch(() => []);
    captured.push({ sink: `names in ${name}`, bytes: Buffer.from(paths.join("\n")) });
    for (const path of paths) {
      const bytes = await readOnce(join(root, path), seen);
      if (bytes) captured.push({ sink: sinkOf(name, path), bytes });
    }
  }
  return captured;
}

/** Files come and go while we look; one that was read and has not changed is not read again. */
async function readOnce(path: string, seen: Set<string>): Promise<Buffer | undefined> {
  try {
    const found = await lstat(path, { bigint: true });
    const key = `${path} ${found.ino} ${found.size} ${found.mtimeNs}`;
    if (!found.isFile() || seen.has(key)) return undefined;
    seen.add(key);
    return await readFile(path);
  } catch {
    return undefined;
  }
}

const reportName = /^report.*\.json$|heap|core/;

/** What was told of one command is not to be told of the next again. */
async function removeReports({ folder }: Scene): Promise<void> {
  const names = await readdir(join(folder, "cwd"));
  for (const name of names) if (reportName.test(name)) await rm(join(folder, "cwd", name));
}

function sinkOf(folder: string, path: string): string {
  if (folder === "cwd" && reportName.test(path)) return "crash reports";
  const own = /(manifest\.json|manifest\.json\.sig|SHA256SUMS)$/.exec(path)?.[1];
  return own === undefined ? `files in ${folder}` : `${own} in ${folder}`;
}

/** What changes once the slow run makes pages. */
async function progressOf({ folder }: Scene): Promise<string> {
  const spool = join(folder, "spool", "slow");
  const pages = await readdir(join(spool, "pages")).catch(() => []);
  const acks = await readFile(join(spool, "acks.ndjson")).catch(() => Buffer.alloc(0));
  return `${pages.toSorted(compareNames).at(-1)} ${acks.length}`;
}

/** Only some commands serve it, and only for a while. */
async function scrape(): Promise<Captured[]> {
  try {
    const answer = await fetch(prometheusUrl, { signal: AbortSignal.timeout(1000) });
    const head = JSON.stringify([...answer.headers]);
    return [{ sink: "Prometheus endpoint", bytes: Buffer.from(head + (await answer.text())) }];
  } catch {
    return [];
  }
}

/** What the store and the collector got, but for the credentials they are meant to get. */
function lookAtServers({ store, collector }: Scene): Captured[] {
  const captured: Captured[] = collector.bodies.map((bytes) => ({ sink: "OTLP bodies", bytes }));
  const credentials = /^(?:authorization|x-amz-security-token)$/;
  for (const { path, headers } of collector.requests.splice(0)) {
    const rest = Object.entries(headers).filter(([name]) => !credentials.test(name));
    captured.push({ sink: "OTLP headers", bytes: Buffer.from(path + JSON.stringify(rest)) });
  }
  for (const headers of store.headers.splice(0)) {
    const rest = Object.entries(headers).filter(([name]) => !credentials.test(name));
    captured.push({ sink: "store headers", bytes: Buffer.from(JSON.stringify(rest)) });
  }
  captured.push({
    sink: "store requests",
    bytes: Buffer.from(store.requests.splice(0).join("\n")),
  });
  for (const [name, { bytes, meta }] of store.objects) {
    captured.push({ sink: "object names", bytes: Buffer.from(name) });
    captured.push({ sink: "object metadata", bytes: Buffer.from(JSON.stringify(meta)) });
    captured.push({ sink: "object bytes", bytes });
  }
  collector.bodies.length = 0;
  return captured;
}
