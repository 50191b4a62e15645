/** What can hang while a run is asked to stop: one scene each, with real servers that fall silent where a scene says so. */
import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { stageModule } from "../../test/fixtures/stage-module.ts";
import { startScriptedS3, type Call, type ScriptedS3 } from "../../test/servers/scripted-s3.ts";
import { startTcpProxy, type TcpProxy } from "../../test/servers/tcp-proxy.ts";

/** The servers that all trials share. */
export interface Stage {
  readonly database: TcpProxy;
  readonly store: ScriptedS3;
  /** Accepts telemetry and never answers. */
  readonly collector: string;
  close(): Promise<void>;
}

export interface Scene {
  readonly name: string;
  /** Where the records go; `store` is the S3 server. */
  readonly to: "folder" | "store";
  /** Between the source and its serialization. */
  readonly stages?: readonly Record<string, unknown>[];
  readonly compress?: Record<string, unknown>;
  readonly pageBytes?: string;
  readonly telemetry?: (stage: Stage) => Record<string, unknown>;
  /** Milliseconds after the start between which the signal comes; up to an undisturbed run's end when absent. */
  readonly within?: readonly [from: number, to: number];
  /** Called at the start of the run that will be stopped; `at` is when the signal comes. */
  readonly disturb?: (stage: Stage, atMillis: number) => void;
  readonly calm?: (stage: Stage) => void;
  /** More of the environment, for the run that will be stopped. */
  readonly env?: Readonly<Record<string, string>>;
}

const never = () => {};

/** Calls of this kind are never answered from now on. */
function hang(store: ScriptedS3, on: "PUT" | "GET", matches: (call: Call) => boolean): void {
  const play = (call: Call) => {
    store.faults.push({ on, play });
    if (!matches(call)) call.serve();
  };
  store.faults.push({ on, play });
}

/** Slows the calls that make files durable, as a disk does that is about to fail. */
const slowCalls = `#include <time.h>
int fsync(int fd) { struct timespec t = {3, 0}; nanosleep(&t, 0); return 0; }
int fdatasync(int fd) { return fsync(fd); }
`;

/** Builds the library that does; undefined where there is no C compiler. */
export function buildSlowDisk(folder: string): string | undefined {
  const library = join(folder, "slow-disk.so");
  const args = ["-shared", "-fPIC", "-x", "c", "-o", library, "-"];
  const built = spawnSync("cc", args, { input: slowCalls, stdio: ["pipe", "ignore", "ignore"] });
  return built.status === 0 ? library : undefined;
}

const blackHole = (stage: Stage, delayMillis: number) => {
  setTimeout(() => (stage.database.mode = "black-hole"), delayMillis).unref();
};

/** Every scene that this machine can play. */
export function scenes(slowDisk: string | undefined): readonly Scene[] {
  const all: Scene[] = [
    { name: "nothing hangs", to: "folder" },
    { name: "nothing hangs, S3", to: "store" },
    { name: "the first moments", to: "folder", within: [0, 400] },
    {
      name: "a database that never answers",
      to: "folder",
      disturb: ({ database }) => (database.mode = "black-hole"),
      calm: ({ database }) => (database.mode = "pass"),
    },
    {
      name: "a database that falls silent",
      to: "folder",
      disturb: (stage, at) => blackHole(stage, at / 2),
      calm: ({ database }) => (database.mode = "pass"),
    },
    {
      name: "a store that takes no page",
      to: "store",
      disturb: ({ store }) => hang(store, "PUT", ({ key }) => key.endsWith(".age")),
      calm: ({ store }) => void store.faults.splice(0),
    },
    {
      name: "a store that takes no manifest",
      to: "store",
      within: [500, 2500],
      disturb: ({ store }) => hang(store, "PUT", ({ key }) => key.endsWith("manifest.json")),
      calm: ({ store }) => void store.faults.splice(0),
    },
    {
      name: "a store that gives nothing back",
      to: "store",
      within: [500, 2500],
      disturb: ({ store }) => hang(store, "GET", () => true),
      calm: ({ store }) => void store.faults.splice(0),
    },
    {
      name: "a collector that never answers",
      to: "folder",
      within: [0, 4000],
      telemetry: ({ collector }) => ({ otlp: collector }),
    },
    { name: "a function that never resolves", to: "folder", stages: [{ map: "./stuck.mjs" }] },
    { name: "a function that takes its time", to: "folder", stages: [{ map: "./slow.mjs" }] },
    { name: "a stage that hears nothing", to: "folder", stages: [{ "./deaf.mjs": {} }] },
    {
      name: "a busy worker",
      to: "folder",
      pageBytes: "4MiB",
      compress: { codec: "zstd", level: 19 },
    },
  ];
  if (slowDisk === undefined) return all;
  return [
    ...all,
    { name: "a slow disk", to: "folder", within: [300, 8000], env: { LD_PRELOAD: slowDisk } },
  ];
}

export async function openStage(databaseUrl: string): Promise<Stage> {
  const database = await startTcpProxy(Number(new URL(databaseUrl).port));
  const store = await startScriptedS3("bucket");
  const collector = await startSilentServer();
  return {
    database,
    store,
    collector: collector.url,
    async close() {
      await Promise.all([database.close(), store.stop(), collector.close()]);
    },
  };
}

async function startSilentServer(): Promise<{ url: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket
      .on("error", never)
      .on("close", () => sockets.delete(socket))
      .resume();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** The same rows with and without `STUCK`, which makes the modules of the scenes hang. */
const modules: Readonly<Record<string, string>> = {
  "stuck.mjs": `export default (row) => (process.env.STUCK && row.id > 5000 ? new Promise(() => {}) : row);\n`,
  "slow.mjs": `export default (row) => {
    for (const until = performance.now() + (process.env.STUCK ? 20 : 0); performance.now() < until;);
    return row;
  };\n`,
  "deaf.mjs": stageModule(
    "deaf",
    `for await (const batch of input) {
      yield batch;
      if (process.env.STUCK) await new Promise(() => {});
    }`,
  ),
};

/** Writes a scene's pipeline into a folder of its own; gives the YAML's path. */
export async function writeScene(
  scene: Scene,
  stage: Stage,
  { home, recipient, databaseUrl }: { home: string; recipient: string; databaseUrl: string },
): Promise<string> {
  await mkdir(home, { recursive: true });
  for (const [name, text] of Object.entries(modules)) await writeFile(join(home, name), text);
  const url = new URL(databaseUrl);
  url.port = String(stage.database.port);
  const upload = {
    to: "s3://bucket",
    endpoint: stage.store.endpoint,
    region: "us-east-1",
    accessKeyId: "${env:STORE_KEY}",
    secretAccessKey: "${env:STORE_KEY}",
  };
  const yaml = join(home, "export.yaml");
  const stages = [
    { postgres: { url: url.href, query: "select * from kills order by id" } },
    ...(scene.stages ?? []),
    { serialize: "ndjson" },
    { chunk: scene.pageBytes ?? "32KiB" },
    { compress: scene.compress ?? "zstd" },
    { encrypt: { to: recipient } },
    { spool: { dir: join(home, "spool") } },
    { upload: scene.to === "store" ? upload : join(home, "out") },
  ];
  const telemetry = scene.telemetry && { telemetry: scene.telemetry(stage) };
  // JSON is YAML.
  await writeFile(yaml, JSON.stringify({ name: "kills", memory: "256MiB", stages, ...telemetry }));
  return yaml;
}

/** What the store has, as files: an export is read back from there as from any folder. */
export async function copyStore(store: ScriptedS3, folder: string): Promise<void> {
  for (const [key, { bytes }] of store.objects) {
    await mkdir(dirname(join(folder, key)), { recursive: true });
    await writeFile(join(folder, key), bytes);
  }
}
