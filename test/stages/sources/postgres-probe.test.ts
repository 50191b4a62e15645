/** What `doctor` finds at a PostgreSQL server: a real one, with the roles, tables and settings that matter. */
import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { commandLine, locateBinaries, prepareLaunch } from "../../../src/cli/demo-binaries.ts";
import type { RunningPostgres } from "../../../src/cli/demo-postgres.ts";
import type { Finding } from "../../../src/stages/finding.ts";
import { probePostgres } from "../../../src/stages/sources/postgres-probe.ts";
import { postgresConfig } from "../../../src/stages/sources/postgres.ts";
import { ownPostgres, runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;

const probe = (
  config: Partial<v.InferInput<typeof postgresConfig>> & { url: string },
  signal = never,
) =>
  Array.fromAsync(
    probePostgres(
      v.parse(postgresConfig, { query: "select * from doctor_rows", ...config }),
      "json",
      signal,
    ),
  );

const told = (findings: readonly Finding[]) =>
  findings.map(({ level, check }) => `${level} ${check}`);
const findingOf = (findings: readonly Finding[], check: string) =>
  findings.find((finding) => finding.check === check);

describe("the probe of postgres", () => {
  let url: string;
  const as = (role: string) => url.replace("postgres@", `${role}@`);

  before(async () => {
    ({ url } = await sharedPostgres());
    await runSql(
      url,
      "create table doctor_rows (id int primary key, code text unique, note text)",
      "insert into doctor_rows select g, g::text, 'canary-4711' from generate_series(1, 1000) g",
      "analyze doctor_rows",
      "create role doctor_nobody login",
      "create role doctor_hurried login",
      "grant select on doctor_rows to doctor_hurried",
      "alter role doctor_hurried set statement_timeout = '1s'",
      "alter role doctor_hurried set idle_in_transaction_session_timeout = '1s'",
      "alter role doctor_hurried set tcp_user_timeout = '30s'",
      "create table doctor_indexed (a int not null, b int not null, c int)",
      "create unique index on doctor_indexed (a) where b > 0",
      "create unique index on doctor_indexed (b) include (c)",
      "create table doctor_secret (id int)",
      "create role doctor_half login",
      "grant select on doctor_secret to doctor_half",
      "alter table doctor_secret enable row level security",
      "create policy doctor_low on doctor_secret using (id < 5)",
    );
  });

  it("finds nothing to say about a query that is well, and reads no row", async () => {
    const findings = await probe({ url, key: ["id"] });
    assert.deepEqual(told(findings), [
      "ok server",
      "ok TLS",
      "ok query",
      "ok snapshot",
      "ok time limits",
      "ok size",
      "ok rights",
      "ok key",
    ]);
    assert.match(findingOf(findings, "size")!.found, /1,000 rows of \d+ bytes/);
    assert.doesNotMatch(JSON.stringify(findings), /canary/);
  });

  it("asks a query with parameters as it would run", async () => {
    const query = "select id, array[id] as ids from doctor_rows where code = $1";
    const findings = await probe({ url, query, params: ["canary-7"] });
    assert.equal(findingOf(findings, "query")?.found, "gives 2 columns");
    assert.ok(findings.every(({ level }) => level === "ok"));
    assert.doesNotMatch(JSON.stringify(findings), /canary/);
  });

  it("ends as a run would: wrong SQL, a missing table, a table that may not be read", async () => {
    for (const query of ["selec 1", "select * from doctor_nowhere", "listen x"]) {
      const last = (await probe({ url, query })).at(-1);
      assert.deepEqual([last?.check, last?.code], ["query", "source-refused"], query);
    }
    const denied = (await probe({ url: as("doctor_nobody") })).at(-1);
    assert.equal(denied?.code, "source-refused");
    assert.match(denied.found, /42501/);
  });

  it("does not wait for a table that is locked", async () => {
    const locking = runSql(
      url,
      "begin",
      "lock table doctor_secret in access exclusive mode",
      "select pg_sleep(1.5)",
    );
    await sleep(200);
    const started = performance.now();
    const query = "select * from doctor_secret";
    const last = (await probe({ url, query, timeout: "500ms" })).at(-1);
    assert.equal(last?.code, "source-failed");
    assert.ok(performance.now() - started < 1400);
    await locking;
  });

  it("switches off the limits of a role, and names the one it cannot", async () => {
    const findings = await probe({ url: as("doctor_hurried") });
    assert.equal(findingOf(findings, "time limits")?.level, "ok");
    assert.equal(findingOf(findings, "tcp_user_timeout")?.level, "warn");
  });

  it("says that a limit of one's own counts pauses too", async () => {
    const findings = await probe({ url, statementTimeout: "1h" });
    assert.match(findingOf(findings, "time limits")?.found ?? "", /after 1 h 00 m/);
  });

  it("says when a policy hides rows", async () => {
    const query = "select * from doctor_secret";
    const half = findingOf(await probe({ url: as("doctor_half"), query }), "rights");
    assert.equal(half?.level, "warn");
    assert.match(half.found, /row-level security/);
    assert.equal(findingOf(await probe({ url, query }), "rights")?.level, "ok");
  });

  it("says what vouches for a key", async () => {
    const keys: readonly [key: string[], query: string, found: RegExp][] = [
      [["id"], "select id from doctor_rows", /^is unique and not null/],
      [["id", "note"], "select * from doctor_rows", /may be null/],
      [["code"], "select * from doctor_rows", /may be null/],
      [["note"], "select * from doctor_rows", /no unique index/],
      [["id"], "select id + 1 as id from doctor_rows", /computed/],
      [["a"], "select * from doctor_indexed", /no unique index/],
      [["b"], "select * from doctor_indexed", /^is unique and not null/],
      [["other"], "select id from doctor_rows", /does not give/],
    ];
    for (const [key, query, found] of keys)
      assert.match(findingOf(await probe({ url, key, query }), "key")?.found ?? "", found, query);
  });

  it("does not wait for a server that is silent or not there, and shows no password", async () => {
    const mute = createServer(() => {}).listen(0, "127.0.0.1");
    await once(mute, "listening");
    const { port } = mute.address() as AddressInfo;
    const login = `postgres://u:canary@127.0.0.1:${port}/x`;
    const silent = await probe({ url: login, connectTimeout: "300ms" });
    assert.equal(silent[0]?.code, "source-unreachable");
    mute.close();
    const gone = await probe({ url: login });
    assert.deepEqual([gone.length, gone[0]?.code], [1, "source-unreachable"]);
    assert.doesNotMatch(JSON.stringify([silent, gone]), /canary/);
  });

  it("is over when it is interrupted", async () => {
    const reason = new Error("enough");
    await assert.rejects(probe({ url }, AbortSignal.abort(reason)), reason);
  });

  it("says where rows would cross a network readable", async () => {
    const elsewhere = `${url.replace("127.0.0.1", "0.0.0.0")}?sslmode=disable`;
    assert.equal(findingOf(await probe({ url: elsewhere }), "TLS")?.level, "warn");
    const refused = await probe({ url: elsewhere.replace("?sslmode=disable", "") });
    assert.equal(refused[0]?.code, "source-refused");
  });
});

describe("the probe of postgres over TLS", () => {
  let server: RunningPostgres | undefined;
  let folder = "";

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "spillway-tls-"));
    const out = ["-keyout", join(folder, "key.pem"), "-out", join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    try {
      execFileSync("openssl", [...command, ...subject, ...out], { stdio: "ignore" });
    } catch {
      this.skip();
    }
    const files = {
      ssl_cert_file: join(folder, "cert.pem"),
      ssl_key_file: join(folder, "key.pem"),
    };
    server = await ownPostgres({ settings: { ssl: "on", ...files } });
  });
  after(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("tells what is verified from what is only encrypted", async () => {
    const cert = `sslrootcert=${join(folder, "cert.pem")}`;
    const modes: readonly [mode: string, level: string, found: RegExp][] = [
      [`sslmode=verify-full&${cert}`, "ok", /are verified/],
      ["sslmode=no-verify", "warn", /certificate is not verified/],
      [`uselibpqcompat=true&sslmode=verify-ca&${cert}`, "warn", /host name is not verified/],
    ];
    for (const [mode, level, found] of modes) {
      const url = `${server!.url.replace("127.0.0.1", "localhost")}?${mode}`;
      const tls = findingOf(await probe({ url, query: "select 1 as one" }), "TLS");
      assert.equal(tls?.level, level, mode);
      assert.match(tls.found, found);
    }
  });
});

describe("the probe of a postgres standby", () => {
  let server: RunningPostgres;
  let standby: ChildProcess | undefined;

  before(async () => {
    server = await ownPostgres({ settings: { wal_level: "replica", max_wal_senders: "1" } });
    process.kill(server.pid, "SIGINT");
    while (isAlive(server.pid)) await sleep(20);
  });
  afterEach(async () => {
    if (!standby?.pid || standby.exitCode !== null) return;
    standby.kill("SIGINT");
    await once(standby, "exit");
  });
  after(() => server.stop());

  /** The same data once more, as a standby whose primary is gone. */
  async function startStandby(settings: Readonly<Record<string, string>>): Promise<void> {
    const native = locateBinaries(undefined);
    const launch = await prepareLaunch(native, join(server.dataDir, ".."), undefined);
    await writeFile(join(server.dataDir, "standby.signal"), "");
    const { port } = new URL(server.url);
    const all = { port, fsync: "off", unix_socket_directories: "", ...settings };
    const set = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const args = ["-D", server.dataDir, ...set];
    const [command, given] = commandLine(native, launch, "postgres", args);
    standby = spawn(command, given, { ...launch.spawn, stdio: ["ignore", "ignore", "pipe"] });
    for await (const text of standby.stderr!)
      if (String(text).includes("ready to accept read-only connections")) break;
  }

  it("says when the primary may end a long export, and what helps", async () => {
    await startStandby({ hot_standby_feedback: "off", max_standby_streaming_delay: "30s" });
    const findings = await probe({ url: server.url, query: "select 1 as one" });
    assert.match(findingOf(findings, "server")!.found, /a standby/);
    const found = findingOf(findings, "standby");
    assert.equal(found?.level, "warn");
    assert.match(found.found, /delay is 30.0 s/);
    assert.deepEqual(
      findings.filter(({ level }) => level === "fail"),
      [],
    );
  });

  it("is content with a standby that asks its primary to wait", async () => {
    await startStandby({ hot_standby_feedback: "on" });
    const findings = await probe({ url: server.url, query: "select 1 as one" });
    assert.equal(findingOf(findings, "standby")?.level, "ok");
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
