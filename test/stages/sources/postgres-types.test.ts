/** Every type against the server's own `row_to_json`, through the NDJSON writer. */
import assert from "node:assert/strict";
import { ndjson } from "../../../src/stages/formats/ndjson.ts";
import { createRecordBuffer } from "../../../src/stages/formats/record-buffer.ts";
import { readSource, runSql } from "../../servers/postgres.ts";
import { corpusPostgres, everyTypeQuery, typeQueries } from "../../servers/postgres-corpus.ts";

let url = "";

before(async () => {
  url = await corpusPostgres();
});

async function writeRows(query: string, params: (string | null)[] = []): Promise<string[]> {
  const out = createRecordBuffer();
  const writer = ndjson.writer();
  for (const batch of await readSource({ url, query, params })) {
    const write = writer.rows(batch);
    for (const row of batch.rows) write(row, out);
  }
  const lines = Buffer.from(out.view().bytes).toString().split("\n");
  assert.equal(lines.pop(), "");
  return lines;
}

/** The server's JSON, in the session settings of an export; on one line, as NDJSON must be. */
async function expectedRows(query: string): Promise<string[]> {
  const rows = await runSql(
    url,
    "set timezone = 'UTC'",
    "set intervalstyle = 'postgres'",
    "set extra_float_digits = 1",
    `select row_to_json(whole_row) from (${query}\n) whole_row`,
  );
  return rows.map(([json]) => String(json).replace(/[\r\n]/g, " "));
}

async function assertSame(query: string): Promise<void> {
  const expected = await expectedRows(query);
  assert.ok(expected.length > 0);
  assert.deepEqual(await writeRows(query), expected);
}

describe("postgres: what a record is", () => {
  for (const [name, query] of Object.entries(typeQueries)) {
    it(`writes ${name} as row_to_json does`, () => assertSame(query));
  }

  it("writes every builtin type that has a text form, as array too", async () => {
    await assertSame(await everyTypeQuery());
  });

  it("writes a row of no columns as {}", async () => {
    assert.deepEqual(await writeRows("select from generate_series(1, 3)"), ["{}", "{}", "{}"]);
  });

  it("writes 1600 columns, some of them arrays", async () => {
    const columns = Array.from({ length: 1600 }, (_, i) => (i % 400 === 0 ? `'{${i}}'::int[]` : i));
    await assertSame(`select ${columns.map((c, i) => `${c} as c${i}`).join(", ")}`);
  });

  it("converts columns in queries of every shape", async () => {
    const shapes = [
      "select array[1] as a;",
      "select array[1] as a -- the end; really",
      "select array[1] as a ; -- done\n ;\n/* ; */ ",
      "with q as (select array[1] as a) select a from q order by 1",
      "select array[1] as a, ';' as b, $q$;'$q$ as c, E'\\';' as d, 'it''s;' as e, \"x;\" from (select 1 as \"x;\") t;",
      "/* a /* nested; */ comment; */ select array[1] as a;",
      "table pg_am;",
      "(select array[2] as a union all select array[1]) order by a limit 1;",
    ];
    for (const shape of shapes) {
      const bare = shape.includes("union")
        ? "select array[1] as a"
        : shape.replace(/;[\s;]*(--.*\s*|\/\*.*\*\/\s*|[\s;])*$/, "");
      assert.deepEqual(await writeRows(shape), await expectedRows(bare), shape);
    }
  });

  it("keeps the order of the query where columns are converted", async () => {
    const rows = await writeRows(
      "select g, array[g] as a from generate_series(1, 5000) g order by md5(g::text)",
    );
    assert.deepEqual(
      rows,
      await expectedRows(
        "select g, array[g] as a from generate_series(1, 5000) g order by md5(g::text)",
      ),
    );
  });

  it("binds parameters, in converted queries too", async () => {
    const query = "select $1::int as n, array[$2::text] as t, $3::bool as b";
    assert.deepEqual(await writeRows(query, ["7", "a;'b", null]), [
      `{"n":7,"t":["a;'b"],"b":null}`,
    ]);
  });

  it("names original types in the columns", async () => {
    const [batch] = await readSource({
      url,
      query:
        "select 1::int8 as a, '{1}'::int4[] as b, '{}'::json as c, now() as d, 'good'::types_mood as e",
    });
    assert.deepEqual(
      batch?.columns.map(({ name, type, json }) => `${name} ${type} ${json}`),
      [
        "a int8 number",
        "b int4[] json",
        "c json json",
        "d timestamptz timestamptz",
        "e types_mood string",
      ],
    );
  });

  it("leaves types of extensions the texts they print, unless a function makes them json", async () => {
    const values = ["'Ann@x.org'::citext", "'a=>1'::hstore", "'{A}'::citext[]", "'x'::types_loud"];
    const query = `select ${values.map((value, i) => `${value} as c${i}`).join(", ")}`;
    const [batch] = await readSource({ url, query });
    assert.deepEqual(
      batch?.columns.map(({ type, json }) => `${type} ${json}`),
      ["citext string", "hstore json", "citext[] json", "types_loud json"],
    );
    await assertSame(query);
  });
});
