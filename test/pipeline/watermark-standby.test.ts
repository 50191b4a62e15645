import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { commandLine, locateBinaries, prepareLaunch } from "../../src/cli/demo-binaries.ts";
import type { RunningPostgres } from "../../src/cli/demo-postgres.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { ownPostgres, runSql } from "../servers/postgres.ts";
import { exportCut } from "./epochs.ts";

const settings = { wal_level: "replica", synchronous_commit: "on" };

/** Crashes the server, and starts it again as a standby that replays what it had written, and waits for more. */
async function becomeStandby({ pid, dataDir, url }: RunningPostgres) {
  process.kill(pid, "SIGQUIT");
  await until(() => access(join(dataDir, "postmaster.pid")).then(refuse, () => true));
  await writeFile(join(dataDir, "standby.signal"), "", { mode: 0o666 });
  const native = locateBinaries();
  const launch = await prepareLaunch(native, dirname(dataDir), undefined);
  const address = { port: new URL(url).port, listen_addresses: "127.0.0.1" };
  const given = { ...settings, ...address, unix_socket_directories: "" };
  const options = Object.entries(given).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [command, args] = commandLine(native, launch, "postgres", ["-D", dataDir, ...options]);
  const child = spawn(command, args, { ...launch.spawn, stdio: "ignore" });
  const ended = once(child, "exit");
  return {
    stop: async () => {
      child.kill("SIGQUIT");
      await ended;
    },
  };
}

const refuse = () => Promise.reject(new Error("still there"));

async function until<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 100; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await sleep(100);
    }
  }
}

describe("watermark on a standby", () => {
  const folder = useFolder();

  it("settles times by what was replayed, not by the clock", async () => {
    const server = await ownPostgres({ settings });
    const url = server.url.replace("postgres@", "postgres:secret@");
    const watermark = { column: "changed", tiebreak: "id", lag: "10ms" };
    const source = { url, query: "select id, changed from seen", watermark };
    try {
      await runSql(
        url,
        "create table seen (id int primary key, changed timestamptz not null default now())",
        "insert into seen values (1, now() - interval '1 minute')",
        "insert into seen values (2)",
      );
      const standby = await becomeStandby(server);
      try {
        const clock = "select (now() - pg_last_xact_replay_timestamp() > '100ms')::text";
        await until(async () => assert.deepEqual(await runSql(url, clock), [["true"]]));
        const { text } = await exportCut({ source, cuts: [], folder: folder.next() });
        assert.match(text, /^\{"id":1,[^\n]+\n$/);
      } finally {
        await standby.stop();
      }
    } finally {
      await server.stop();
    }
  });
});
