/** Exports that go on behind the last durable key: over a table that rests, they are those that were never cut off. */
import assert from "node:assert/strict";
import { many } from "stream-chain";
import type { Row } from "../../src/stages/nouns.ts";
import { filter } from "../../src/stages/transforms/filter.ts";
import { select } from "../../src/stages/transforms/select.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { type Cut, exportCut } from "./epochs.ts";

const folder = useFolder();
let url = "";

before(async () => {
  url = (await sharedPostgres()).url.replace("postgres@", "postgres:secret@");
  await runSql(
    url,
    `create table epoch_rows as select g::bigint as id, 'note "' || repeat(md5(g::text), 1 + g % 9) as note,
       g % 3 as kind, timestamptz '2024-01-01' + g * interval '1.000001 seconds' as noted, g / 7.0 as amount,
       array[g, g + 1] as list
     from generate_series(1, 400) g`,
    "alter table epoch_rows add primary key (id)",
  );
});

const query = "select * from epoch_rows";
const epochs = { key: ["id"], resume: "epochs" };

/** The same, cut off and not: byte for byte in records, page boundaries and chain. */
async function assertEqual(cut: Omit<Cut, "folder">): Promise<string> {
  const plain = await exportCut({ ...cut, cuts: [], folder: folder.next() });
  const resumed = await exportCut({ ...cut, folder: folder.next() });
  assert.equal(plain.consistency.class, "snapshot");
  assert.equal(resumed.text, plain.text);
  assert.deepEqual([...resumed.pages.keys()], [...plain.pages.keys()]);
  assert.equal(resumed.consistency.class, "epochs");
  const count = Number(resumed.consistency.proof["epochs"]);
  // An attempt of which no page became durable left nothing to go on behind.
  assert.ok(count >= 2 && count <= cut.cuts.length + 1);
  assert.equal(resumed.summary.rows, plain.summary.rows);
  return resumed.text;
}

describe("an export that goes on by key", () => {
  for (const format of ["ndjson", "csv", "json"] as const) {
    it(`is the one that was never cut off: ${format}`, () =>
      assertEqual({ source: { url, query, ...epochs }, format, cuts: [5, 2, 5] }));
  }

  it("is so through row stages in the query, in JavaScript, and through both", async () => {
    const source = { url, query, ...epochs };
    const own = (row: Row) =>
      row["kind"] === 1 ? null : { ...row, extra: `${String(row["note"])}!` };
    const several = (row: Row) => many([1, 2, 3].map((copy) => ({ ...row, copy })));
    const [one, two] = ["1", "2"];
    await assertEqual({ source, cuts: [4, 5], rows: [select({ columns: ["note", "amount"] })] });
    await assertEqual({ source, cuts: [4, 5], rows: [filter({ column: "kind", equals: one })] });
    await assertEqual({ source, cuts: [5, 2], rows: [own] });
    await assertEqual({ source, cuts: [5, 2, 8], rows: [several] });
    const rows = [filter({ column: "kind", in: [one, two] }), select(["id", "note"]), own];
    const text = await assertEqual({ source, cuts: [4, 5], rows, format: "csv" });
    assert.match(text, /^id,note,extra\n/);
  });

  it("keeps parameters of the query apart from those of its own", async () => {
    const source = {
      url,
      query: "select id, note from epoch_rows where id > $1 and kind = $2",
      params: [20, 1],
      ...epochs,
    };
    const rows = [filter({ column: "note", not: "none" })];
    await assertEqual({ source, cuts: [4, 1], rows });
  });

  it("says which rows and pages are of which snapshot", async () => {
    const source = { url, query: "select id, note from epoch_rows", ...epochs };
    const { consistency, pages, summary } = await exportCut({
      source,
      cuts: [5],
      folder: folder.next(),
    });
    const { proof } = consistency;
    assert.equal(summary.consistency, "epochs");
    assert.equal(proof["epochs"], 2);
    const [first, second] = [proof["epoch1.firstPage"], Number(proof["epoch2.firstPage"])];
    assert.equal(first, 0);
    assert.ok(second > 0 && second < pages.size);
    assert.equal(Number(proof["epoch1.rows"]) + Number(proof["epoch2.rows"]), 400);
    assert.match(String(proof["epoch1.snapshot"]), /^\d+:\d+:/);
    assert.match(String(proof["epoch2.lsn"]), /^[0-9A-F]+\/[0-9A-F]+$/);
  });
});
