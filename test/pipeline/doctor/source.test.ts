/** What `doctor` says of sources that it asks or opens itself. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { examine } from "../../../src/pipeline/doctor/examine.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { startFhir, type TestFhirServer } from "../../servers/fhir.ts";
import { mariadbInstalled, startMariadb, type MariaDb } from "../../servers/mariadb.ts";
import { sharedPostgres } from "../../servers/postgres.ts";

describe("a look at the source", () => {
  const folder = useFolder();

  const look = async (source: string, env: Record<string, string> = {}, format = "ndjson") => {
    const path = join(folder.path, "export.yaml");
    const behind = `serialize: ${format}
  - chunk: 4KiB
  - compress: zstd
  - encrypt: none
  - spool: ${join(folder.path, "spool")}
  - upload: ${join(folder.path, "out")}`;
    await writeFile(path, `name: rows\nmemory: 512MiB\nstages:\n  - ${source}\n  - ${behind}\n`);
    const found = await examine(path, { env, signal: new AbortController().signal });
    assert.deepEqual(
      found.filter(({ area, level }) => area === "config" && level === "fail"),
      [],
    );
    return found.filter(({ area }) => area === "source");
  };
  const told = (findings: Awaited<ReturnType<typeof look>>) =>
    findings.map(({ level, check, found }) => `${level} ${check}: ${found}`);

  it("tries a SQLite query without reading a row", async () => {
    const path = join(folder.path, "rows.db");
    const database = new DatabaseSync(path);
    database.exec("create table t (id int, note text)");
    const source = (query: string, params = "[]") =>
      `sqlite: { path: ${path}, query: "${query}", params: ${params} }`;
    assert.match(told(await look(source("select * from t"))).join("\n"), /^ok query: gives 2 col/m);
    for (const bad of [source("select * from nowhere"), source("select ?")])
      assert.equal(
        (await look(bad)).find(({ check }) => check === "query")?.code,
        "source-refused",
      );
    database.close();
  });

  it("says of a file what it is, and warns of nothing else", async () => {
    await writeFile(join(folder.path, "rows.csv"), "id\n1\n");
    const [one, ...more] = told(await look(`csv: ${join(folder.path, "rows.csv")}`));
    assert.match(one!, /^ok file: /);
    assert.deepEqual(more, []);
  });

  it("that is a file finds one to read, or says what is in its place", async () => {
    await mkdir(join(folder.path, "folder.csv"));
    const of = async (path: string) => {
      const findings = await look(`csv: ${path}`);
      assert.equal(findings.length, 1);
      return findings[0]!;
    };
    const missing = await of(join(folder.path, "missing.csv"));
    assert.equal(missing.code, "input-missing");
    assert.match(missing.found, /missing\.csv does not exist$/);
    const other = await of(join(folder.path, "folder.csv"));
    assert.equal(other.code, "source-refused");
    assert.match(other.found, /is no file$/);
    const beyond = await of(join(folder.path, "export.yaml", "rows.csv"));
    assert.equal(beyond.code, "source-refused");
    assert.match(beyond.found, /cannot be read \(ENOTDIR\)$/);
    assert.equal((await of('"-"')).found, "standard input");
  });

  it("that is no server there says so, whatever is made of its rows", async () => {
    for (const format of ["ndjson", "csv"]) {
      const source = 'postgres: { url: "postgres://u@127.0.0.1:1/x", query: select 1 }';
      const [only, ...more] = await look(source, {}, format);
      assert.deepEqual([only?.check, only?.code, more], ["server", "source-unreachable", []]);
    }
  });

  it("asks for what is looked up, joined or not, and tells of which query something is wrong", async () => {
    const { url } = await sharedPostgres();
    const lookups = (...queries: string[]) => {
      const stages = queries.map(
        (query) => `lookup: { url: "\${env:URL}", query: "${query}", on: id }`,
      );
      return [`postgres: { url: "\${env:URL}", query: select 1 as id }`, ...stages].join("\n  - ");
    };
    const lines = async (source: string, format?: string) =>
      told(await look(source, { URL: url }, format)).filter((line) => /lookup/.test(line));
    const two = lookups("select 1 as id, 2 as a, 3 as b", "select 1 as id, 2 as c");
    for (const format of ["ndjson", "csv"])
      assert.deepEqual(await lines(two, format), [
        "ok lookup: gives 3 columns",
        "ok lookup: gives 2 columns",
      ]);
    const [nowhere, keyless, ...more] = await lines(
      lookups("select id from nowhere", "select 1 as a"),
    );
    assert.match(
      nowhere!,
      /^fail lookup: the server stopped the query at character 16 \(SQLSTATE 42P01/,
    );
    assert.match(keyless!, /^fail lookup: .*the query gives no column "id"/);
    assert.deepEqual(more, []);
  });

  describe("of FHIR", () => {
    let server: TestFhirServer;
    before(async () => {
      server = await startFhir({ resources: [] });
    });
    after(() => server.close());
    const counts = () =>
      server.requests.filter(({ url }) => url.searchParams.get("_summary") === "count").length;

    it("asks for the count where a run would, and not with `totals: none`", async () => {
      const source = (more = "") => `fhir: { url: "${server.base}", search: [Patient]${more} }`;
      const none = await look(source(", totals: none"));
      assert.equal(counts(), 0);
      const search = none.find(({ check }) => check === "search");
      assert.equal(search?.level, "warn");
      assert.match(search.found, /`totals: none`: the server is not asked/);
      assert.match(told(await look(source())).join("\n"), /^ok search: 0 resources/m);
      assert.equal(counts(), 1);
    });
  });

  describe("of MariaDB", () => {
    let server: MariaDb;
    before(async function () {
      if (!mariadbInstalled()) this.skip();
      this.timeout(60_000);
      server = await startMariadb();
      await server.execute(
        "create table kept (id int primary key, note text) engine=InnoDB",
        "create table loose (id int primary key) engine=MyISAM",
      );
    });
    after(() => server?.stop());

    const ask = (query: string, url = server.url) =>
      look(`mysql: { url: "\${env:URL}", query: "${query}" }`, { URL: url });

    it("logs in and tries the query, and warns of tables without snapshots", async () => {
      const lines = told(await ask("select * from kept"));
      assert.match(lines.join("\n"), /^ok server: .*MariaDB.*; the login works$/m);
      assert.match(lines.join("\n"), /^ok query: gives 2 columns$/m);
      assert.match(lines.join("\n"), /^ok TLS: none; the server is on this machine$/m);
      assert.equal(lines.length, 3);
      assert.match(told(await ask("select * from loose")).join("\n"), /^warn snapshot: .*loose/m);
    });

    it("tells a query that is refused, and a server that is not there", async () => {
      const codes = async (...of: Parameters<typeof ask>) =>
        (await ask(...of)).flatMap(({ check, code }) => (code ? [`${check} ${code}`] : []));
      assert.deepEqual(await codes("select * from nowhere"), ["query source-refused"]);
      const gone = await codes("select 1", "mysql://u:canary-4711@127.0.0.1:1/x");
      assert.deepEqual(gone, ["server source-unreachable"]);
    });
  });
});
