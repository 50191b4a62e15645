/**
 * A real MariaDB for tests, from Debian's package `mariadb-server`: it lies in a temporary folder, listens on a port of
 * 127.0.0.1 that was free, and needs no root rights.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { createConnection } from "mysql2/promise";
import { type Daemons, startDaemons } from "./daemons.ts";
import { freePort } from "./free-port.ts";

const run = promisify(execFile);
const startMillis = 45_000;

export interface MariaDb {
  /** With a user that may do everything and a database `test`. */
  readonly url: string;
  readonly port: number;
  /** Runs statements, one after another, each in a login of its own. */
  execute(...statements: readonly string[]): Promise<unknown[][]>;
  stop(): Promise<void>;
}

function find(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/bin"];
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Whether the programs of a MariaDB server are on this machine. */
export const mariadbInstalled = (): boolean =>
  find("mariadbd") !== undefined && find("mariadb-install-db") !== undefined;

/** Starts a server; takes some seconds. `options` are those of `mariadbd`. */
export async function startMariadb(options: readonly string[] = []): Promise<MariaDb> {
  const start = async (daemons: Daemons) => {
    const { folder } = daemons;
    const port = await freePort();
    await install(folder);
    daemons.own(spawnDaemon(folder, port, options));
    await untilAnswers(port, daemons);
    const url = `mysql://root@127.0.0.1:${port}/test`;
    const execute = (...statements: readonly string[]) => executeAt(port, statements, "test");
    await executeAt(port, ["create database test character set utf8mb4"]);
    return { url, port, execute };
  };
  return startDaemons("mariadb", start, (folder) => readFile(join(folder, "log"), "utf8"));
}

const dataOf = (folder: string) => `--datadir=${join(folder, "data")}`;
const asUser = () => `--user=${userInfo().username}`;

async function install(folder: string): Promise<void> {
  const quick = ["--skip-test-db", "--innodb-log-file-size=8M"];
  const login = "--auth-root-authentication-method=normal";
  const options = ["--no-defaults", dataOf(folder), asUser(), login, ...quick];
  await run(find("mariadb-install-db")!, options, { timeout: startMillis });
}

function spawnDaemon(folder: string, port: number, options: readonly string[]): ChildProcess {
  const program = find("mariadbd")!;
  const settings = [
    "--no-defaults",
    asUser(),
    dataOf(folder),
    `--port=${port}`,
    "--bind-address=127.0.0.1",
    `--socket=${join(folder, "socket")}`,
    `--log-error=${join(folder, "log")}`,
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=16M",
    "--performance-schema=off",
    "--max-allowed-packet=64M",
  ];
  return spawn(program, [...settings, ...options], { stdio: "ignore" });
}

async function executeAt(port: number, statements: readonly string[], database?: string) {
  const connection = await createConnection({
    host: "127.0.0.1",
    port,
    user: "root",
    rowsAsArray: true,
    ...(database !== undefined && { database }),
  });
  try {
    let rows: unknown = [];
    for (const statement of statements) [rows] = await connection.query(statement);
    return Array.isArray(rows) ? (rows as unknown[][]) : [];
  } finally {
    await connection.end();
  }
}

async function untilAnswers(port: number, daemons: Daemons): Promise<void> {
  const deadline = Date.now() + startMillis;
  while (Date.now() < deadline) {
    if (daemons.isBroken) throw new Error("the server ended");
    if (await executeAt(port, ["select 1"]).catch(() => undefined)) return;
    await sleep(50);
  }
  throw new Error(`no answer within ${startMillis} ms`);
}
