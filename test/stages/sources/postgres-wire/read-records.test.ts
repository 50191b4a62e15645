/** The fast path against the row path, and both against what the server itself prints. */
import assert from "node:assert/strict";
import { runSql } from "../../../servers/postgres.ts";
import { corpusPostgres, everyTypeQuery, typeQueries } from "../../../servers/postgres-corpus.ts";
import { copyCsv, formats, writeRecords } from "./wire-records.ts";

let url = "";

before(async () => {
  url = await corpusPostgres();
});

/** The server's own JSON, on one line each. */
async function rowToJson(query: string): Promise<string> {
  const rows = await runSql(
    url,
    "set timezone = 'UTC'",
    `select row_to_json(whole_row) from (${query}\n) whole_row`,
  );
  return rows.map(([json]) => `${String(json).replace(/[\r\n]/g, " ")}\n`).join("");
}

/** Equal, or the place where they part: megabytes of difference help nobody. */
function assertEqualText(actual: string, expected: string, what: string): void {
  if (actual === expected) return;
  let at = 0;
  while (actual[at] === expected[at]) at += 1;
  const near = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 40), at + 40));
  assert.fail(`${what}: at ${at}, expected ${near(expected)} but found ${near(actual)}`);
}

async function assertSame(query: string, server = true): Promise<void> {
  for (const format of formats) {
    const wire = await writeRecords({ url, query }, format);
    const plain = await writeRecords({ url, query }, format, { apart: true });
    assertEqualText(wire.text, plain.text, format);
    assert.equal(wire.records, plain.records);
    assert.equal(wire.last.end?.rows, plain.last.end?.rows);
    assert.deepEqual(wire.last.columns, plain.last.columns);
    if (server && format === "csv") assertEqualText(wire.text, await copyCsv(url, query), "COPY");
    if (server && format === "ndjson")
      assertEqualText(wire.text, await rowToJson(query), "row_to_json");
  }
}

describe("postgres straight to records", () => {
  for (const [name, query] of Object.entries(typeQueries)) {
    it(`writes ${name} as the row path, row_to_json and COPY do`, () => assertSame(query));
  }

  it("writes every builtin type that has a text form, as array too", async () => {
    await assertSame(await everyTypeQuery());
  });

  it("writes every character up to U+0800, and a few beyond, in texts, names and JSON", async () => {
    await assertSame(
      "select g, chr(g) as c, 'a' || chr(g) || 'b' as abc, to_json(chr(g)) as j, to_jsonb(chr(g)) as jb " +
        "from generate_series(1, 2048) g where g not between 55296 and 57343",
    );
    await assertSame(
      "select 'x' || chr(g), nullif(chr(g), chr(65279)) " +
        "from unnest(array[8232, 8233, 65279, 65533, 65535, 65536, 128512, 1114111]) g",
    );
    for (const code of [1, 9, 10, 13, 31, 34, 39, 44, 92, 127, 8232]) {
      const name = String.fromCharCode(code).replaceAll('"', '""');
      await assertSame(`select 1 as "${name}", 2 as "x${name}y"`);
    }
  });

  it("writes bytea whose bytes are no UTF-8, and texts that look like its hex", async () => {
    await assertSame(
      String.raw`select '\xc328a0a1f09f'::bytea, ''::bytea as e, '\xff'::text as t, E'\\303'::bytea as o`,
    );
  });

  it("writes rows of no columns, of none at all, and of 1664", async () => {
    await assertSame("select from generate_series(1, 3)");
    await assertSame("select where false");
    await assertSame("select 1 as a, array[2] as b where false");
    const columns = Array.from({ length: 1664 }, (_, i) => (i % 2 ? `'x${i}' as c${i}` : "null"));
    await assertSame(`select ${columns.join(", ")} from generate_series(1, 40)`, false);
  });

  it("writes a lone \\. and lone empty texts", async () => {
    await assertSame(String.raw`select unnest(array['\.', '', null, '\.x', ' '])`);
    await assertSame(String.raw`select '\.' as "\.", '\.' as b`);
    await assertSame(String.raw`select 1 as "\."`);
  });

  it("writes numbers that are longer than a chunk", async () => {
    await assertSame(
      "select g, (repeat('9', g) || '.' || repeat('8', g / 10))::numeric as n, 'tail' as t " +
        "from unnest(array[60, 254, 255, 256, 257, 70000, 131000]) g",
    );
  });

  it("writes values of every length around the limits, in rows that lie across reads", async () => {
    await assertSame(
      "select g, repeat('é,', g) as t, repeat('x', g) as x, repeat('\"', g) as q, to_json(repeat(E'\\n', g)) as j, " +
        "repeat('z', g)::bytea as b from unnest(array[0, 1, 127, 128, 129, 255, 256, 257, 32767, 65535, 65536, 131071]) g",
    );
  });

  it("quotes CSV values beyond 256 KiB, and only those, whatever is in them", async () => {
    for (const [bytes, quoted] of [
      [262_143, false],
      [262_144, false],
      [262_145, true],
      [3_000_000, true],
    ] as const) {
      const query = `select 1 as a, repeat('x', ${bytes}) as b, 2 as c`;
      await assertSame(query, !quoted);
      const { text } = await writeRecords({ url, query }, "csv");
      const copied = await copyCsv(url, query);
      assert.equal(text.length, copied.length + (quoted ? 2 : 0));
      assertEqualText(text.replaceAll('"', ""), copied, "unquoted");
    }
    await assertSame("select repeat('x\"', 300000) as b");
    await assertSame("select repeat('é', 131072) as b");
    await assertSame("select repeat('é', 131073) as b", false);
  });

  it("writes many rows, exactly as the row path does, in the order of the query", async () => {
    await assertSame(
      "select g, md5(g::text) as m, timestamptz '2024-01-01' + g * interval '1.000017 s' as t, g * 1.5 as n, case when g % 7 = 0 then null else repeat(E'\\t\"', g % 90) end as x, " +
        "array[g, null] as a, g % 2 = 0 as b, jsonb_build_object('k', g) as j from generate_series(1, 30000) g order by md5(g::text)",
      false,
    );
  });

  it("loses no long row behind as many short ones as an output can end", async () => {
    for (const rows of [65_535, 65_536, 65_537, 131_073]) {
      await assertSame(
        `select case when i = ${rows} then repeat('x', 300000) else '1' end as t from generate_series(1, ${rows}) i`,
        false,
      );
    }
  });

  it("quotes long bytea in CSV wherever reads end", async () => {
    const query = "select g, decode(repeat('ab', 140000), 'hex') as b from generate_series(1, 8) g";
    await assertSame(query, false);
    await assertSame("select repeat('y', 262145) as t, g from generate_series(1, 6) g", false);
  });

  it("binds parameters", async () => {
    const config = { url, query: "select $1::int as n, $2::text as t", params: [7, null] };
    assert.equal((await writeRecords(config, "csv")).text, "n,t\n7,\n");
  });

  it("tells columns, expectation and proof as the row path does", async () => {
    const query = "select 1::int8 as a, '{1}'::int4[] as b";
    const { last } = await writeRecords({ url, query }, "ndjson");
    const plain = await writeRecords({ url, query }, "ndjson", { apart: true });
    assert.deepEqual(last.columns, plain.last.columns);
    assert.equal(last.end?.queryDigest, plain.last.end?.queryDigest);
    assert.equal(last.end?.consistency.class, "snapshot");
  });
});
