import assert from "node:assert/strict";
import { chmod, readFile } from "node:fs/promises";
import { generateKeyPairSync } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { createBulk } from "../servers/fhir-bulk.ts";
import { makeObservations, send, startFhir, type TestFhirServer } from "../servers/fhir.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { openDesk, type Desk } from "./spawn-cli.ts";

const resources = makeObservations(60);
const examples = new URL("../../examples/", import.meta.url);
const rest = [
  "serialize: ndjson",
  "chunk: 64KiB",
  "compress: none",
  "encrypt: none",
  "spool: ./spool",
  "upload: ./out",
];
const pipeline = (source: string) =>
  `name: counted\nstages:\n  - ${source}\n${rest.map((stage) => `  - ${stage}\n`).join("")}`;

describe("FHIR and count on the command line", () => {
  let desk: Desk;
  let server: TestFhirServer;
  const bulk = createBulk({
    output: [{ type: "Observation", lines: resources.slice(3).map(({ text }) => text) }],
    polls: 1,
  });
  before(async () => {
    desk = await openDesk();
    server = await startFhir({ resources }, [
      ({ url }, response) => {
        if (url.pathname !== "/token" && url.pathname !== "/fhir/metadata") return false;
        const json = { "content-type": "application/json" };
        send(response, 200, '{"access_token":"t","token_type":"bearer"}', json);
        return true;
      },
      bulk.intercept,
    ]);
    for (const name of ["fhir-search.yaml", "fhir-bulk.yaml"]) {
      const text = await readFile(new URL(name, examples), "utf8");
      await desk.write(name, text.replace(/encrypt: .*/, "encrypt: none"));
    }
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    await desk.write(
      "client-key.pem",
      privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    );
    await chmod(join(desk.folder, "client-key.pem"), 0o600);
  });
  after(async () => {
    await desk.remove();
    await server.close();
  });

  it("counts a FHIR search, by file and by address", async () => {
    const env = { FHIR_URL: server.base, FHIR_TOKEN: "t" };
    const { document } = await desk.json(["count", "fhir-search.yaml"], env);
    assert.deepEqual(document, { rows: 60, exact: true });
    const { stdout } = await desk.cli(["count", `${server.base}/Observation?_id=o1,o2`]);
    assert.equal(stdout, "2\n");
  });

  it("asks for the very search that an address says", async () => {
    for (const [said, name] of [
      ["name=A%26active=true", "A&active=true"],
      ["name=100%", "100%"],
      ["name=%25C3", "%C3"],
    ]) {
      await desk.cli(["count", `${server.base}/Observation?${said}`]);
      const asked = server.requests.at(-1)!.url.searchParams;
      assert.deepEqual(
        [...asked],
        [
          ["name", name],
          ["_summary", "count"],
        ],
      );
    }
  });

  it("counts queries of databases", async () => {
    new DatabaseSync(join(desk.folder, "some.db")).exec(
      "create table t as select 1 as n union select 2 union select 3",
    );
    await desk.write(
      "sqlite.yaml",
      pipeline('sqlite: { path: some.db, query: "select * from t where n > ? ;", params: [1] }'),
    );
    assert.deepEqual((await desk.json(["count", "sqlite.yaml"])).document, {
      rows: 2,
      exact: true,
    });
    const { url } = await sharedPostgres();
    await runSql(url, "select 1");
    await desk.write(
      "postgres.yaml",
      pipeline(
        'postgres: { url: "${env:DATABASE_URL}", query: "select * from generate_series(1, $1::int); -- all", params: [1234] }',
      ),
    );
    assert.equal(
      (await desk.cli(["count", "postgres.yaml"], { DATABASE_URL: url })).stdout,
      "1,234\n",
    );
  });

  it("counts all rows of a query with a watermark, its parameters bound", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "create table counted_marks (id int primary key, changed timestamptz not null)",
      "insert into counted_marks select g, now() - interval '1 h' from generate_series(1, 40) g",
    );
    const watermark = "watermark: { column: changed, tiebreak: id }";
    const query = 'query: "select * from counted_marks where id > $1", params: [4]';
    const source = `postgres: { url: "\${env:DATABASE_URL}", ${query}, ${watermark} }`;
    await desk.write("marks.yaml", pipeline(source));
    const through = new URL(url);
    through.password = "secret";
    const { stdout, stderr } = await desk.cli(["count", "marks.yaml"], {
      DATABASE_URL: through.href,
    });
    assert.equal(stdout, "36\n", stderr);
  });

  it("says what cannot be counted", async () => {
    await desk.write("lines.yaml", pipeline("ndjson: lines.ndjson"));
    const { code, stderr } = await desk.cli(["count", "lines.yaml"]);
    assert.equal(code, 2);
    assert.match(stderr, /ndjson cannot be counted without being read/);
    assert.equal((await desk.cli(["count", "http://127.0.0.1:1/"])).code, 2);
  });

  it("runs the example of a search: planned, looked at, exported, read back", async () => {
    const env = { FHIR_URL: server.base, FHIR_TOKEN: "t" };
    const plan = await desk.cli(["plan", "fhir-search.yaml"]);
    assert.match(plan.stdout, /fhir \+ serialize run as one stage/);
    const doctor = await desk.cli(["doctor", "fhir-search.yaml"], env);
    assert.match(doctor.stdout + doctor.stderr, /60 resources, as the server counts them/);
    const { code, stderr, document } = await desk.json(["run", "fhir-search.yaml"], env);
    assert.equal(code, 0, stderr);
    assert.equal((document as { rows: number }).rows, 63);
    const { stdout } = await desk.cli(["cat", "exports/blood-pressures"]);
    const sorted = (lines: readonly string[]) => lines.toSorted().join("\n");
    assert.equal(sorted(stdout.trim().split("\n")), sorted(resources.map(({ text }) => text)));
  });

  it("runs the example of a bulk export, and has the server remove it when all is durable", async () => {
    const env = { FHIR_URL: server.base, TOKEN_URL: `${server.origin}/token` };
    const { code, stderr } = await desk.cli(["run", "fhir-bulk.yaml", "-q"], env);
    assert.equal(code, 0, stderr);
    const { stdout } = await desk.cli(["cat", "exports/cohort"]);
    assert.equal(
      stdout,
      resources
        .slice(3)
        .map(({ text }) => `${text}\n`)
        .join(""),
    );
    assert.equal(bulk.kickOffs[0]?.pathname, "/fhir/Group/cohort-7/$export");
    assert.deepEqual(bulk.removed, ["/status/1"]);
  });
});
