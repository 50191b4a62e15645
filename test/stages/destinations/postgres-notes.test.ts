import assert from "node:assert/strict";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { expectError, objectOf } from "../../contract/destination-contract.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;

describe("the notes of a table of PostgreSQL", () => {
  let url: string;
  before(async () => {
    ({ url } = await sharedPostgres());
    await runSql(
      url,
      "drop schema if exists noted cascade",
      "create schema noted",
      "create table noted.t (id int)",
    );
    await put("p/run/00000000.ndjson", '{"id":1}\n');
    await put("p/run/manifest.json", "{}");
    const note = "insert into noted.spillway_objects (name, target, bytes, sha256) select";
    await runSql(
      url,
      `${note} format('p/run%s/%s.ndjson', r, lpad(g::text, 8, '0')), 'noted.t'::regclass, 1, '' from generate_series(1, 40) r, generate_series(1, 500) g`,
      `${note} format('p/run%s/manifest.json', r), 0, 1, '' from generate_series(1, 40) r where r <> 17`,
      // Of another table, as other pipelines have it, and then of another pipeline in this one.
      `${note} format('q/run/%s.ndjson', lpad(g::text, 8, '0')), 0, 1, '' from generate_series(1, 80000) g`,
      `${note} 'rest/run1/00000001.ndjson', 'noted.t'::regclass, 1, ''`,
      "vacuum analyze noted.spillway_objects",
    );
  });
  after(() => runSql(url, "drop schema if exists noted cascade"));

  async function put(name: string, text: string): Promise<void> {
    const destination = await openDestination(url, {
      timeoutMillis: 5000,
      rows: { table: "noted.t", key: [] },
    });
    try {
      await destination.put(objectOf(name, text), never);
    } finally {
      await destination.close();
    }
  }
  const countReads = async () =>
    Number(
      (
        await runSql(
          url,
          "select heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit from pg_statio_user_tables where relid = 'noted.spillway_objects'::regclass",
        )
      )[0]![0],
    );

  it("tell of a run that is not whole, among many that are", async () => {
    const page = put("p/new/00000000.ndjson", '{"id":1}\n');
    const { message } = await expectError("destination-refused", page);
    assert.match(message, /rows of the unfinished run run17 lie in noted.t/);
  });

  it("are not read through for each page", async () => {
    await runSql(
      url,
      "insert into noted.spillway_objects (name, target, bytes, sha256) values ('p/run17/manifest.json', 0, 1, '')",
    );
    const before = await countReads();
    await put("p/new/00000000.ndjson", '{"id":1}\n');
    const read = (await countReads()) - before;
    assert.ok(read < 500, `${read} blocks of 100,000 notes were read`);
  });

  it("are refused where they could be made twice: a page would be written twice", async () => {
    await runSql(url, "alter table noted.spillway_objects drop constraint spillway_objects_pkey");
    const page = put("p/new/00000001.ndjson", '{"id":1}\n');
    const { message } = await expectError("destination-refused", page);
    assert.match(message, /noted.spillway_objects has no unique index on name, target/);
  });
});
