/** Examples whose exports go to a store, or come in columns: run as they stand but for address and key, and read back. */
import assert from "node:assert/strict";
import { chmod, readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { makeAgeKey } from "../../src/cli/key-file.ts";
import { askDuckdb } from "../fixtures/duckdb.ts";
import { makeCertificate, startTlsFront } from "../servers/certificate.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { startScriptedAzblob } from "../servers/scripted-azblob.ts";
import { startScriptedSftp } from "../servers/scripted-sftp.ts";
import { startScriptedWeb } from "../servers/scripted-web.ts";
import { openDesk, rowsText, type Desk } from "./spawn-cli.ts";

const examples = new URL("../../examples/", import.meta.url);
const secret = "Bearer a token of tests";

describe("examples to stores", () => {
  let desk: Desk;
  let recipient: string;
  before(async () => {
    desk = await openDesk();
    const key = await makeAgeKey();
    recipient = key.recipient;
    await desk.write("key.txt", key.text);
    await chmod(join(desk.folder, "key.txt"), 0o600);
  });
  after(() => desk.remove());

  /** Runs an example; `places` says what stands in the place of its own addresses. */
  async function runExample(
    name: string,
    env: Readonly<Record<string, string>> = {},
    places: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    let text = await readFile(new URL(name, examples), "utf8");
    for (const [from, to] of Object.entries({ [/age1\w+/.exec(text)![0]]: recipient, ...places })) {
      assert.ok(text.includes(from), `${name} says ${from}`);
      text = text.replace(from, to);
    }
    await desk.write(name, text);
    const { code, stderr } = await desk.cli(["run", name, "-q"], env);
    assert.equal(code, 0, `${name}: ${stderr}`);
  }

  async function readBack(url: string, env: Readonly<Record<string, string>> = {}) {
    const { code, stdout, stderr } = await desk.cli(["cat", url, "-i", "key.txt"], env);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  it("postgres-to-parquet makes a file that DuckDB takes for the table", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "drop schema if exists examples_parquet cascade",
      "create schema examples_parquet",
      "create table examples_parquet.observation as select g as id, 'k' || g % 7 as code, g / 8.0 as value, timestamptz '2024-01-01 00:00Z' + g * interval '1 ms' as taken_at from generate_series(1, 30000) g",
    );
    const env = { DATABASE_URL: `${url}?options=-csearch_path%3Dexamples_parquet` };
    await runExample("postgres-to-parquet.yaml", env);
    const restore = ["restore", "exports/observations-by-column", "--to", ".", "-i", "key.txt"];
    assert.equal((await desk.cli(restore)).code, 0);
    const file = `'${join(desk.folder, "observations-by-column.parquet")}'`;
    const types = (await askDuckdb(`describe from ${file}`)).map(([, type]) => type);
    assert.deepEqual(types, ["INTEGER", "VARCHAR", "DOUBLE", "TIMESTAMP WITH TIME ZONE"]);
    const totals = "count(*), sum(id), count(distinct code), sum(value)::bigint";
    const [read] = await askDuckdb(`select ${totals}, max(epoch_us(taken_at)) from ${file}`);
    const [expected] = await runSql(
      url,
      `select ${totals}, max(extract(epoch from taken_at) * 1000000)::bigint from examples_parquet.observation`,
    );
    assert.deepEqual(read, expected);
  });

  it("csv-to-azure stores blobs", async () => {
    const azure = await startScriptedAzblob("exports");
    try {
      await desk.write("visits.csv", "id;note\n1;wörter\n2;\n");
      const env = {
        AZURE_STORAGE_KEY: "a2V5",
        AZURE_STORAGE_SERVICE_ENDPOINT: azure.endpoint,
      };
      await runExample("csv-to-azure.yaml", env);
      assert.ok(
        [...azure.objects.keys()].some((key) => /^visits\/.*\.ndjson\.zst\.age$/.test(key)),
      );
      const read = await readBack("azblob://clinic/exports/visits", env);
      assert.equal(read, '{"id":"1","note":"wörter"}\n{"id":"2","note":null}\n');
    } finally {
      await azure.stop();
    }
  });

  it("ndjson-to-https puts files into a folder of a web server, over TLS", async function () {
    const files = makeCertificate(desk.folder);
    if (!files) this.skip();
    const web = await startScriptedWeb("remote.php");
    for (const folder of ["dav/", "dav/files/", "dav/files/clinic/"]) web.folders.add(folder);
    const front = await startTlsFront(Number(new URL(web.endpoint).port), files);
    try {
      await desk.write("results.ndjson", rowsText(50));
      const trust = { NODE_EXTRA_CA_CERTS: files.certificate };
      const [host, here] = ["cloud.example.org", `localhost:${front.port}`];
      await runExample(
        "ndjson-to-https.yaml",
        { ...trust, UPLOAD_AUTHORIZATION: secret },
        { [`to: https://${host}`]: `to: https://${here}` },
      );
      assert.ok(web.headers.every(({ authorization }) => authorization === secret));
      const url = `https://${here}/remote.php/dav/files/clinic/exports/`;
      const env = { ...trust, SPILLWAY_HTTPS_AUTHORIZATION: secret };
      assert.equal(await readBack(url, env), rowsText(50));
    } finally {
      await front.stop();
      await web.stop();
    }
  });

  it("sqlite-to-sftp writes files on an SSH server", async () => {
    const server = await startScriptedSftp();
    try {
      const database = new DatabaseSync(join(desk.folder, "clinic.db"));
      database.exec(
        "create table observation (id integer, code text, value real); insert into observation values (2, '29463-7', 72.5), (1, '29463-7', null), (3, '8302-2', 1.8)",
      );
      database.close();
      await desk.write("exports_key", server.privateKey);
      await chmod(join(desk.folder, "exports_key"), 0o600);
      server.folders.add("."); // the user's home
      const { hostKey } = server.login;
      const here = `exports@127.0.0.1:${server.port}`;
      await runExample(
        "sqlite-to-sftp.yaml",
        {},
        {
          "exports@files.example.org": here,
          "SHA256:1Yh3Zx0hvtZ1qIkEe4qjZ2nW8oZB6rT3o3oG0u2dYxY": hostKey,
        },
      );
      const env = { SPILLWAY_SFTP_KEY: server.privateKey, SPILLWAY_SFTP_HOST_KEY: hostKey };
      const read = await readBack(`sftp://${here}/~/incoming/observations-archive`, env);
      assert.equal(read, "id,code,value\n1,29463-7,\n2,29463-7,72.5\n");
    } finally {
      await server.stop();
    }
  });
});
