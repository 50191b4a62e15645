import assert from "node:assert/strict";
import * as fc from "fast-check";
import * as v from "valibot";
import { PipelineError } from "../../../src/errors.ts";
import { createObjectWriters } from "../../../src/stages/formats/json-records.ts";
import { createRecordBuffer } from "../../../src/stages/formats/record-buffer.ts";
import type { Row, RowBatch } from "../../../src/stages/nouns.ts";
import { documentMaker } from "../../../src/stages/transforms/documents.ts";
import { lookup } from "../../../src/stages/transforms/lookup.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import {
  column,
  documentBatches,
  sourceEnd,
  stream,
  tupleBatches,
} from "../../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

let url: string;

/** What comes out, and what the cache did. */
async function looksUp(given: Record<string, unknown>, rows: readonly Row[], pieces = 3) {
  const config = v.parse(lookup.config, { url, ...given });
  const ctx = testContext();
  const batches = await collect(lookup.open(config, ctx, stream(documentBatches(rows, pieces))));
  assert.deepEqual(batches.at(-1)?.end, sourceEnd(rows.length));
  return { rows: batches.flatMap((batch) => batch.rows as Row[]), cache: ctx.caches[0]!, batches };
}

const refuses = (given: Record<string, unknown>, rows: readonly Row[], message: RegExp) =>
  assert.rejects(looksUp(given, rows), (error: unknown) => {
    assert(error instanceof PipelineError);
    assert.equal(error.code, "transform-failed");
    assert.match(error.message, message);
    return true;
  });

/** The records that `serialize` makes of batches. */
function ndjsonOf(batches: readonly RowBatch[]): string {
  const writers = createObjectWriters();
  const out = createRecordBuffer();
  for (const batch of batches) {
    const write = writers(batch);
    for (const row of batch.rows) {
      write(row, out);
      out.text("\n");
    }
  }
  return Buffer.from(out.view().bytes).toString();
}

/** The most letters of `doc` in a batch; in memory each may take two bytes. */
const widestOf = (batches: readonly RowBatch[]) =>
  Math.max(
    ...batches.map(({ rows }) =>
      (rows as readonly Row[]).reduce(
        (sum, { doc }) => sum + ((doc as string | null)?.length ?? 0),
        0,
      ),
    ),
  );

const codes = "select code, display, weight from lookup_codes";
/** Too little for the table, so that each batch asks for its keys. */
const batched = { cache: "2KiB" };

describe("lookup", () => {
  before(async () => {
    ({ url } = await sharedPostgres());
    await runSql(
      url,
      "create table lookup_codes (code text primary key, display text, weight numeric(10, 2))",
      "insert into lookup_codes select 'c' || i, 'Größe \"' || i || '\"', i / 7.0 from generate_series(1, 500) i",
      "create table lookup_pairs (a int, b text, at timestamptz, primary key (a, b))",
      "insert into lookup_pairs select i % 10, 'x{\"\\,' || i, timestamptz '2024-01-01 00:00:00.000001+00' + i * interval '1 h' from generate_series(1, 300) i",
      "create table lookup_doubles (code text, n int)",
      "insert into lookup_doubles values ('c1', 1), ('c1', 2), (null, 3), (null, 4)",
    );
  });

  checkStageContract({
    stage: lookup,
    config: () => ({ url, query: codes, on: "code" }),
    required: ["url", "query", "on"],
    wrong: { url: "http://x", query: "", on: [], missing: "ignore", cache: "big", timeout: 0 },
    makeInput: (pieces) =>
      documentBatches(
        Array.from({ length: 60 }, (_, i) => ({ id: i, code: `c${i * 20}` })),
        pieces,
      ),
    contentOf: (items) => items.flatMap((item) => item.rows.map((row) => JSON.stringify(row))),
    empty: {
      input: () => documentBatches([]),
      check: (items) => assert.deepEqual(items.at(-1)?.end, sourceEnd(0)),
    },
  });

  it("adds the columns of the row with the same key, digit for digit", async () => {
    const rows = [
      { id: 1, code: "c7" },
      { id: 2, code: "c8" },
    ];
    const found = await looksUp({ query: codes, on: "code" }, rows);
    assert.deepEqual(found.rows, [
      { id: 1, code: "c7", display: 'Größe "7"', weight: "1.00" },
      { id: 2, code: "c8", display: 'Größe "8"', weight: "1.14" },
    ]);
    assert.deepEqual(
      found.batches[0]?.columns.map(({ name, type }) => [name, type]),
      [
        ["display", "text"],
        ["weight", "numeric"],
      ],
    );
    assert.deepEqual(
      rows,
      [
        { id: 1, code: "c7" },
        { id: 2, code: "c8" },
      ],
      "rows are not changed",
    );
  });

  it("reads a small table once, whatever the number of rows", async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => ({ code: `c${1 + (i % 500)}` }));
    const { cache } = await looksUp({ query: codes, on: "code" }, rows, 30);
    assert.equal(cache.loads, 500);
    assert.equal(cache.hits, 3000);
    assert.equal(cache.evictions, 0);
  });

  it("asks once a batch for a table that does not fit, and keeps within its memory", async () => {
    const rows = Array.from({ length: 600 }, (_, i) => ({ code: `c${1 + (i % 200)}` }));
    const { cache, rows: found } = await looksUp({ query: codes, on: "code", ...batched }, rows, 6);
    assert.equal(found.length, 600);
    assert(found.every((row) => typeof row["display"] === "string"));
    assert.equal(cache.loads, 600, "each batch of 100 knows none of its keys any more");
    assert(cache.evictions > 500 && cache.bytes <= 2048);
    const again = await looksUp(
      { query: codes, on: "code", ...batched },
      rows.map(() => ({ code: "c3" })),
      6,
    );
    assert.equal(again.cache.loads, 1);
    assert.equal(again.cache.hits, 584, "the first rows ask, all others know");
  });

  it("gives the same rows whole and by batches, with several columns as key", async () => {
    const query = "select a as x, b as y, at from lookup_pairs";
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            a: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 11 })),
            b: fc.integer({ min: 0, max: 320 }).map((i) => `x{"\\,${i}`),
          }),
          { maxLength: 60 },
        ),
        async (rows) => {
          const whole = await looksUp({ query, on: { a: "x", b: "y" } }, rows);
          const parts = await looksUp({ query, on: { a: "x", b: "y" }, ...batched }, rows);
          assert.deepEqual(parts.rows, whole.rows);
          const expected = rows.map(({ a, b }) => {
            const i = Number(b.slice(5));
            const isThere = i >= 1 && i <= 300 && i % 10 === a;
            return isThere ? new Date(Date.UTC(2024, 0, 1, i)).toISOString().slice(0, 13) : null;
          });
          assert.deepEqual(
            whole.rows.map((row) => {
              const at = row["at"] as string | null;
              return at === null ? null : at.slice(0, 13).replace(" ", "T");
            }),
            expected,
          );
        },
      ),
      { numRuns: 15 },
    );
  });

  it("keeps, drops or refuses rows without a counterpart", async () => {
    const rows = [{ code: "c1" }, { code: "nobody" }, { code: null }, { code: "c2" }];
    for (const memory of [{}, batched]) {
      const given = { query: "select code, display from lookup_codes", on: "code", ...memory };
      const kept = await looksUp(given, rows);
      assert.deepEqual(
        kept.rows.map(({ display }) => display),
        ['Größe "1"', null, null, 'Größe "2"'],
      );
      const dropped = await looksUp({ ...given, missing: "drop" }, rows);
      assert.deepEqual(
        dropped.rows.map(({ code }) => code),
        ["c1", "c2"],
      );
      await refuses({ ...given, missing: "fail" }, rows, /a row has no counterpart.*`missing`/);
    }
  });

  it("leaves tuples tuples, and those of the stage before as they are", async () => {
    const config = v.parse(lookup.config, { url, query: codes, on: "code" });
    const columns = [column("id", "number", "int8"), column("code")];
    const rows = [["9007199254740993", "c1"]];
    const input = stream(tupleBatches(columns, rows));
    const [batch] = await collect(lookup.open(config, testContext(), input));
    assert.equal(batch?.shape, "tuples");
    assert.deepEqual(batch.rows, [["9007199254740993", "c1", 'Größe "1"', "0.14"]]);
    assert.deepEqual(
      batch.columns.map(({ name }) => name),
      ["id", "code", "display", "weight"],
    );
    assert.deepEqual(rows, [["9007199254740993", "c1"]]);
  });

  it("joins tuples to the same rows as objects, whole and by batches", async () => {
    const columns = [column("n", "number", "int4"), column("flag", "boolean", "bool")];
    const query =
      "select g as k, g % 2 = 0 as even, g % 3 = 0 as third, g::int8 as wide, json_build_array(g) as list, " +
      "timestamptz '2024-01-01 00:00:00.000001+00' as at from generate_series(1, 300) g";
    const texts = Array.from({ length: 400 }, (_, n) => [
      n % 50 === 0 ? null : String(n),
      n % 4 === 0 ? "t" : "f",
    ]);
    const given = { shape: "tuples", columns, rows: texts, bytes: 9000 } as const;
    const objects = texts.map(documentMaker(given));
    for (const memory of [{}, batched]) {
      const looked = (batch: RowBatch) => {
        const config = v.parse(lookup.config, {
          url,
          query,
          on: { n: "k", flag: "even" },
          ...memory,
        });
        return collect(lookup.open(config, testContext(), stream([batch])));
      };
      const tuples = await looked(given);
      const documents = await looked({ ...given, shape: "documents", rows: objects });
      assert(tuples.every(({ shape }) => shape === "tuples"));
      assert.deepEqual(
        tuples.flatMap((batch) => batch.rows.map(documentMaker(batch))),
        documents.flatMap((batch) => batch.rows as Row[]),
      );
      assert.equal(ndjsonOf(tuples), ndjsonOf(documents));
      const [none, , , , found] = ndjsonOf(tuples).split("\n");
      assert.match(
        none!,
        /^\{"n":null,"flag":true,"third":null,"wide":null,"list":null,"at":null\}$/,
      );
      assert.match(found!, /^\{"n":4,"flag":true,"third":false,"wide":4,"list":\[4\],"at":"2024-/);
    }
  });

  it("refuses tuples of two columns with one name, or with a name that it would add", async () => {
    const config = v.parse(lookup.config, { url, query: codes, on: "code" });
    for (const [names, message] of [
      [["code", "id", "id"], /two columns are named "id"/],
      [["code", "weight"], /rows have a column "weight" already/],
    ] as const) {
      const input = stream(
        tupleBatches(
          names.map((name) => column(name)),
          [names.map(() => "c1")],
        ),
      );
      await assert.rejects(collect(lookup.open(config, testContext(), input)), message);
    }
  });

  it("refuses a key that is not unique, not there, or a name that is taken", async () => {
    const rows = [{ code: "c1", display: "mine" }];
    for (const memory of [{}, { cache: "200B" }]) {
      const query = "select code, n from lookup_doubles";
      await refuses(
        { query, on: "code", ...memory },
        rows,
        /two rows of its query have the same key/,
      );
    }
    await refuses({ query: codes, on: { code: "kode" } }, rows, /the query gives no column "kode"/);
    await refuses(
      { query: "select code, code from lookup_codes", on: "code" },
      rows,
      /more than one column "code"/,
    );
    await refuses({ query: codes, on: { kode: "code" } }, rows, /there is no column "kode"/);
    await refuses({ query: codes, on: "code" }, rows, /rows have a column "display" already/);
  });

  it("gives the same rows whole and by batches for keys of every type", async () => {
    const samples: Record<string, readonly string[]> = {
      "char(12)": ["c1", "c2 x"],
      "varchar(5)": ["abc", ""],
      "bit(8)": ["00000001", "10000000"],
      "bit varying(9)": ["1", "101"],
      boolean: ["true", "false"],
      "numeric(6, 2)": ["1.00", "-2.50"],
      int8: ["9007199254740993", "-1"],
      timestamptz: ["2024-01-01 00:00:00.000001+00", "infinity"],
      date: ["2024-02-29", "0001-01-01 BC"],
      "interval day to second": ["1 day", "02:03:04"],
      uuid: ["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
      bytea: [String.raw`\x00ff`, String.raw`\x`],
      inet: ["10.0.0.1/8", "::1"],
      '"char"': ["a", "b"],
    };
    for (const [type, texts] of Object.entries(samples)) {
      const values = texts.map((text) => `('${text}'::${type})`).join(", ");
      const query = `select k, 'found ' || row_number() over () as n from (values ${values}) as t(k)`;
      // As the source gives them: what the server prints.
      const rows = (
        await runSql(url, `set timezone = 'UTC'`, `select k from (values ${values}) as t(k)`)
      ).map(([k]) => ({ k: type === "boolean" ? k === "t" : k }));
      for (const memory of [{}, { cache: "100B" }]) {
        const { rows: found } = await looksUp({ query, on: "k", ...memory }, rows);
        assert.deepEqual(
          found.map(({ n }) => n),
          ["found 1", "found 2"],
          `${type} ${JSON.stringify(memory)}`,
        );
      }
    }
  });

  it("finds the same for keys of extensions' types, arrays and json, and none for what no server has", async () => {
    await runSql(url, "create extension if not exists citext");
    const query = `select * from (values
      ('Ann'::citext, '{1,2}'::int4[], '{"a": 1}'::json, 1), ('bob', '{}', 'null', 2)) as t(name, list, doc, n)`;
    const rows = ["Ann", "ann", "bob", "a\0b", "\ud800"].map((name) => ({ name, list: [1, 2] }));
    for (const memory of [{}, { cache: "100B" }]) {
      const byName = `select name, n from (${query}) as q`;
      const { rows: found } = await looksUp({ query: byName, on: "name", ...memory }, rows);
      assert.deepEqual(
        found.map(({ n }) => n),
        [1, null, 2, null, null],
      );
      const byList = `select list, n from (${query}) as q`;
      const { rows: lists } = await looksUp({ query: byList, on: "list", ...memory }, rows);
      assert.deepEqual(
        lists.map(({ n }) => n),
        [1, 1, 1, 1, 1],
      );
    }
  });

  it("finds nothing for a key that is no value of the query's type", async () => {
    const rows = [{ a: "N/A" }, { a: "99999999999999999999" }, { a: "3" }];
    const query = "select distinct on (a) a, b from lookup_pairs order by a, b";
    for (const memory of [{}, { cache: "300B" }]) {
      const { rows: found } = await looksUp({ query, on: "a", ...memory }, rows);
      assert.deepEqual(
        found.map(({ b }) => b === null),
        [true, true, false],
      );
    }
  });

  it("asks for few rows at a time where their answers are wide, whatever came before", async () => {
    const query =
      "select g as id, repeat('x', case when g < 100 then 1 else 20000 end) as doc from generate_series(0, 599) g";
    const rows = Array.from({ length: 600 }, (_, id) => ({ id }));
    const { batches, rows: found } = await looksUp({ query, on: "id", cache: "100KiB" }, rows, 1);
    assert.equal(found.length, 600);
    assert(
      found.every(({ doc, id }) => (doc as string).length === (Number(id) < 100 ? 1 : 20_000)),
    );
    assert(widestOf(batches) <= 2 ** 18, `${widestOf(batches)}`);
  });

  it("gives few rows at a time where a wide answer is that of many", async () => {
    const query =
      "select g as id, repeat('x', case when g < 4 then 10 else 100000 end) as doc from generate_series(0, 5) g";
    const rows = Array.from({ length: 300 }, (_, id) => ({ id: id % 7 }));
    for (const cache of ["4MiB", "300KiB"]) {
      const { batches, rows: found } = await looksUp({ query, on: "id", cache }, rows, 1);
      assert.deepEqual(
        found.map(({ id, doc }) => [id, (doc as string | null)?.length ?? 0]),
        rows.map(({ id }) => [id, id < 4 ? 10 : id < 6 ? 100_000 : 0]),
      );
      assert(widestOf(batches) <= 2 ** 18, `${widestOf(batches)}`);
    }
  });

  it("counts a load that fails, and tells neither key nor statement", async () => {
    const config = v.parse(lookup.config, {
      url,
      query: "select a, 1 / (a - a) as n from lookup_pairs where b like '%1'",
      on: "a",
    });
    const ctx = testContext();
    const input = stream(documentBatches([{ a: "canary" }]));
    await assert.rejects(collect(lookup.open(config, ctx, input)), (error: unknown) => {
      assert(error instanceof PipelineError);
      assert.match(error.message, /22012/);
      assert.doesNotMatch(error.message, /canary|select/);
      return true;
    });
    assert.equal(ctx.caches[0]?.loadFailures, 1);
  });
});
