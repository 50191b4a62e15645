/** Exports that go on behind the last durable key: over a table that rests, they are those that were never cut off. */
import assert from "node:assert/strict";
import { many } from "stream-chain";
import type { Row } from "../../src/stages/nouns.ts";
import { filter } from "../../src/stages/transforms/filter.ts";
import { select } from "../../src/stages/transforms/select.ts";
import { createKey } from "../fixtures/keys.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { type Cut, exportCut, spoolText } from "./epochs.ts";

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
    "create table epoch_codes as select 'patient ' || id as code, note from epoch_rows",
    "alter table epoch_codes add primary key (code)",
    "create type epoch_mood as enum ('good', 'bad')",
    "create domain epoch_moods as epoch_mood",
    "create table epoch_felt as select (case when kind = 1 then 'bad' else 'good' end)::epoch_moods as mood, id, note from epoch_rows",
    "alter table epoch_felt add primary key (mood, id)",
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
  for (const format of ["csv", "json"] as const) {
    it(`is the one that was never cut off: ${format}`, () =>
      assertEqual({ source: { url, query, ...epochs }, format, cuts: [5, 2] }));
  }

  it("is so through row stages in the query, in JavaScript, and through both", async () => {
    const source = { url, query, ...epochs };
    const own = (row: Row) =>
      row["kind"] === 1 ? null : { ...row, extra: `${String(row["note"])}!` };
    const several = (row: Row) => many([1, 2, 3].map((copy) => ({ ...row, copy })));
    await assertEqual({ source, cuts: [5, 8], rows: [several] });
    const rows = [filter({ column: "kind", in: ["1", "2"] }), select(["id", "note", "kind"]), own];
    const text = await assertEqual({ source, cuts: [4], rows, format: "csv" });
    assert.match(text, /^id,note,kind,extra\n/);
  });

  it("is so by a key of a domain, over an enum too", async () => {
    for (const key of [
      ["mood", "id"],
      ["mood desc", "id"],
    ])
      await assertEqual({
        source: { url, query: "select * from epoch_felt", key, resume: "epochs" },
        cuts: [5],
      });
  });

  it("keeps parameters of the query apart from those of its own", () =>
    assertEqual({
      source: {
        url,
        query: "select id, note from epoch_rows where id > $1 and kind <> $2",
        params: [20, 1],
        ...epochs,
      },
      rows: [filter({ column: "note", not: "none" })],
      cuts: [5],
    }));

  it("says which rows and pages are of which snapshot, and takes rows as they are by then", async () => {
    const { consistency, pages, summary, text } = await exportCut({
      source: { url, query: "select id, note, kind from epoch_rows", ...epochs },
      cuts: [5],
      between: () => runSql(url, "update epoch_rows set kind = kind + 10"),
      folder: folder.next(),
    });
    await runSql(url, "update epoch_rows set kind = kind - 10");
    const { proof } = consistency;
    assert.deepEqual([summary.consistency, proof["epochs"]], ["epochs", 2]);
    const [first, second] = [proof["epoch1.firstPage"], Number(proof["epoch2.firstPage"])];
    assert.equal(first, 0);
    assert.ok(second > 0 && second < pages.size);
    const rows = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Row);
    assert.deepEqual(
      rows.map(({ id }) => id),
      Array.from({ length: 400 }, (_, i) => i + 1),
    );
    const old = rows.filter(({ kind }) => Number(kind) < 10).length;
    assert.deepEqual([proof["epoch1.rows"], proof["epoch2.rows"]], [old, 400 - old]);
    assert.match(String(proof["epoch1.snapshot"]), /^\d+:\d+:/);
    assert.match(String(proof["epoch2.lsn"]), /^[0-9A-F]+\/[0-9A-F]+$/);
  });

  it("leaves no key in the spool that anybody could read", async () => {
    const { recipient } = await createKey();
    const path = folder.next();
    let left = "";
    await exportCut({
      source: { url, query: "select * from epoch_codes", key: ["code"], resume: "epochs" },
      encrypt: { to: recipient },
      cuts: [5],
      between: async () => (left = await spoolText(path)),
      folder: path,
    });
    assert.match(left, /"point":"[A-Za-z0-9+/]{100,}=*"/);
    assert.doesNotMatch(left, /patient/);
    for (const [sealed] of left.matchAll(/(?<="point":")[^"]*/g))
      assert.doesNotMatch(Buffer.from(sealed, "base64").toString("latin1"), /patient|epochs/);
  });

  it("goes on by proof, and says so, when the password of the attempt before is gone", async () => {
    const warnings: string[] = [];
    const { consistency, summary } = await exportCut({
      source: (attempt) => ({ url: url.replace("secret", `secret${attempt}`), query, ...epochs }),
      cuts: [5],
      folder: folder.next(),
      log: { info() {}, warn: (text) => warnings.push(text) },
    });
    assert.equal(consistency.class, "snapshot");
    assert.ok(summary.resumedFrom);
    assert.match(warnings.join(), /no last key can be opened.*goes on by proof/);
  });
});
