import assert from "node:assert/strict";
import * as fc from "fast-check";
import { mentionsParams } from "../../../src/stages/sources/postgres-pushdown.ts";
import { dropSemicolons } from "../../../src/stages/sources/postgres-types.ts";
import { corpusPostgres, typeQueries } from "../../servers/postgres-corpus.ts";
import { runSql } from "../../servers/postgres.ts";
import { type Asked, type Format, outcomeOf, plannedAs, type Step } from "./pushed-records.ts";

/** Values of every kind of type; their texts, printed by the server and not, become what filters want. */
const samples: Readonly<Record<string, readonly string[]>> = {
  bool: ["t", "f"],
  int2: ["1", "-5", "32767"],
  int4: ["0", "1", "-2147483648"],
  int8: ["1", "9223372036854775807"],
  oid: ["1", "4294967295"],
  numeric: ["1", "1.0", "1.00", "NaN", "1e3", "-0.0"],
  float4: ["1", "0.1", "-0", "Infinity"],
  float8: ["1", "0.1", "1e22", "5e-324", "NaN"],
  text: ["", "a", "A", "ab  ", "ünï 🩺", "quote \" '' \\\\ {x},", "NULL", "two\nlines", "1"],
  varchar: ["a", "ab  ", ""],
  "char(4)": ["a", "ab", ""],
  '"char"': ["x", ""],
  name: ["a"],
  citext: ["a", "A"],
  date: ["2024-02-29", "infinity", "0044-03-15 BC"],
  timestamp: ["2024-02-29 23:59:59.5", "-infinity"],
  timestamptz: ["2024-02-29 23:59:59.999999+05:45", "infinity"],
  interval: ["1 year -2 mons 3 days", "0"],
  json: ['{"b": 1,  "a":[1]}', "null", '"a"'],
  jsonb: ['{"b": 1,  "a":[1]}', "null", "1.0"],
  bytea: ["\\x00ff", ""],
  uuid: ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
  inet: ["10.0.0.1/8"],
  money: ["1234.5"],
  "int4[]": ["{1,null,3}", "{}"],
  "text[]": ['{"a \\"b",NULL}'],
  int4range: ["[1,5)", "empty"],
  types_mood: ["good"],
  types_score: ["1.5"],
  types_pair: ["(1,x,)", "(,,)"],
  types_loud: ["x"],
};
const names = ["a", "B", 'q"uote', "1", "0", "__proto__", "ключ 🔑", "c0", "two\nlines"];
const noise = [null, 1, true, "", "t", "01", "+1", "1.0", "nobody", "\0", "\ud800", 0.1, -0, 1e21];

interface Case {
  readonly types: readonly string[];
  readonly rows: number;
  readonly pick: () => number;
}

describe("select and filter in PostgreSQL's query", () => {
  let url: string;
  const operands: Record<string, unknown[]> = {};
  before(async () => {
    url = await corpusPostgres();
    for (const [type, texts] of Object.entries(samples)) {
      const values = texts.map((text) => `(${literal(text)}::${type})`);
      const printed = await runSql(
        url,
        "set timezone = 'UTC'",
        `select format('%s', v), to_json(v)::text from (values ${values.join(", ")}) as _(v)`,
      );
      operands[type] = [...texts, ...printed.flat(), ...noise];
    }
  });

  const both = async (asked: Omit<Asked, "url">) => ({
    pushed: await outcomeOf({ url, ...asked }, "pushed"),
    apart: await outcomeOf({ url, ...asked }, "apart"),
  });
  /** Both ways give the same; gives what. */
  const same = async (asked: Omit<Asked, "url">) => {
    const { pushed, apart } = await both(asked);
    assert.equal(pushed.error, apart.error);
    assert.equal(pushed.text, apart.text);
    return pushed;
  };

  it("gives the records, or the error, that row functions give, for any types, names and conditions", async () => {
    const types = fc.array(fc.constantFrom(...Object.keys(samples)), {
      minLength: 1,
      maxLength: 6,
    });
    const formats = fc.constantFrom<Format>("ndjson", "json", "csv");
    let nth = 0;
    await fc.assert(
      fc.asyncProperty(
        types,
        fc.nat(12),
        formats,
        fc.infiniteStream(fc.nat()),
        async (types, rows, format, stream) => {
          const pick = () => stream.next().value as number;
          const table = `pushdown_${(nth += 1)}`;
          await makeTable(table, { types, rows, pick });
          const shapes = [
            `select * from ${table}`,
            `select *, 1 + 1 as extra, null as none from ${table} order by ctid; -- the end`,
            `with w as (select * from ${table}) table w limit 5 ;;`,
            `select * from ${table} where $1::text = 'it''s $1'`,
          ];
          const query = shapes[pick() % shapes.length]!;
          const params = query.includes("$1") ? ["it's $1"] : [];
          const steps = Array.from({ length: 1 + (pick() % 4) }, () => makeStep(types, pick));
          const { pushed, apart } = await both({ query, params, steps, format });
          await runSql(url, `drop table ${table}`);
          if (pushed.error !== undefined && apart.error === undefined) {
            assert.match(pushed.error, /there is no column/);
            assert.equal(apart.records, 0, "no row came so far");
            return;
          }
          assert.equal(pushed.error, apart.error);
          assert.equal(pushed.text, apart.text, JSON.stringify({ query, types, steps }));
          if (apart.records === 0) return;
          assert.equal(pushed.proved, pushed.records);
          assert.deepEqual(pushed.columns, apart.columns);
        },
      ),
      { numRuns: 60 },
    );
  }).timeout(60_000);

  async function makeTable(table: string, { types, rows, pick }: Case): Promise<void> {
    const columns = types.map((type, i) => `${quote(names[i]!)} ${type}`);
    const value = (type: string) => {
      const texts = samples[type]!;
      const at = pick() % (texts.length + 1);
      return at === texts.length ? "null" : literal(texts[at]!);
    };
    const inserts = Array.from(
      { length: rows },
      () => `insert into ${table} values (${types.map(value).join(", ")})`,
    );
    await runSql(url, `create table ${table} (${columns.join(", ")})`, ...inserts);
  }

  function makeStep(types: readonly string[], pick: () => number): Step {
    const column = () => (pick() % 30 === 0 ? "nobody" : pick() % types.length);
    const nameOf = (at: number | "nobody") => (at === "nobody" ? "missing" : names[at]!);
    if (pick() % 3 === 0) {
      return { select: Array.from({ length: 1 + (pick() % 5) }, () => nameOf(column())) };
    }
    const at = column();
    const pool = operands[at === "nobody" ? "text" : types[at]!]!;
    const operand = () => pool[pick() % pool.length];
    const list = () => Array.from({ length: pick() % 6 }, operand).filter((one) => one !== null);
    const not = () => ({ not: operand() });
    const asks = [not, not, () => ({ equals: operand() }), () => ({ in: list() })];
    return { filter: { column: nameOf(at), ...asks[pick() % asks.length]!() } };
  }

  it("goes straight to records where nothing else needs the rows", () => {
    const query = "select 1 as a";
    const steps = [{ filter: { column: "a", equals: 1 } }, { select: ["a"] }];
    assert.deepEqual(plannedAs({ url, query, steps }), ["postgres+filter+select+serialize"]);
  });

  it("gives every type of the corpus as row functions do", async () => {
    for (const [name, query] of Object.entries(typeQueries)) {
      if (name === "odd and equal names") continue;
      const sample = await outcomeOf({ url, query, steps: [] }, "apart");
      const columns = sample.columns!.map((column) => column.name);
      const steps = columns.map((column) => ({ filter: { column, not: "nothing" } }));
      const kept = await same({ query, steps });
      assert.equal(kept.records, sample.records, name);
      await same({ query, steps: [{ select: [columns[0]!] }], format: "csv" });
    }
  });

  it("refuses columns that share a name, and those that are gone, as row functions do", async () => {
    const twice = await same({
      query: typeQueries["odd and equal names"]!,
      steps: [{ select: ["9"] }],
    });
    assert.match(twice.error!, /transform-failed: two columns are named "ключ 🔑"/);
    const gone = await same({
      query: "select 1 as a, 2 as b",
      steps: [{ select: ["b"] }, { filter: { column: "a", equals: 1 } }],
    });
    assert.match(gone.error!, /transform-failed: filter: there is no column "a"/);
  });

  it("fails where a row or a column that nobody wants cannot be computed", async () => {
    const query = "select 1 / n as inverse, n from generate_series(1, 0, -1) n";
    for (const step of [
      { select: ["n"] },
      { filter: { column: "n", equals: 1 } },
      { filter: { column: "inverse", equals: 1 } },
    ]) {
      const { error } = await same({ query, steps: [step, { select: ["n"] }] });
      assert.match(error!, /^source-refused: .*22012/);
    }
    const guarded = "select 1 / n as inverse, n from generate_series(-1, 1) n where n <> 0";
    assert.equal((await same({ query: guarded, steps: [{ select: ["n"] }] })).records, 2);
  });

  it("leaves out as many computed columns as a view may have", async () => {
    const columns = Array.from({ length: 230 }, (_, i) => `g + ${i} as c${i}`).join(", ");
    const query = `select ${columns} from generate_series(1, 3) g order by 1`;
    const { text, records } = await same({ query, steps: [{ select: ["c7"] }] });
    assert.equal(records, 3);
    assert.match(text!, /"c7":8/);
  });

  it("drops semicolons at the end of a query, and none in a text, however quotes are escaped", () => {
    const kept = [
      "select 'a;b'",
      String.raw`select 'a\';b' as x`,
      'select 1 as "a;b"',
      "select $$;$$",
    ];
    for (const query of kept) assert.equal(dropSemicolons(query), query);
    assert.equal(dropSemicolons("select 1; ; -- done;\n /* ; */").includes("1;"), false);
    assert.equal(dropSemicolons("select 'x;';").trimEnd(), "select 'x;'");
  });

  it("looks for the end of a query in no time, whatever its comments are like", () => {
    for (const odd of ["-".repeat(100), "/**/".repeat(100), "-- x\n".repeat(100)]) {
      const query = `/* /* /* x */ */ ; ${odd}\n*/ select 1`;
      assert.equal(dropSemicolons(query), query);
      assert.equal(dropSemicolons(`select 1; ${odd}`), `select 1  ${odd}`);
    }
  });

  it("keeps the query's order, also where the server works in parallel", async () => {
    await runSql(
      url,
      "create table pushdown_order as select n, md5(n::text) as m, n % 7 as g from generate_series(1, 20000) n",
      "analyze pushdown_order",
    );
    const settings = [
      "debug_parallel_query=on",
      "parallel_setup_cost=0",
      "parallel_tuple_cost=0",
      "min_parallel_table_scan_size=0",
    ];
    const parallel = new URL(url);
    parallel.searchParams.set("options", settings.map((setting) => `-c ${setting}`).join(" "));
    const asked = {
      url: parallel.href,
      query: "select * from pushdown_order order by m desc",
      steps: [{ filter: { column: "g", not: 3 } }, { select: ["m"] }],
    };
    const pushed = await outcomeOf(asked, "pushed");
    const apart = await outcomeOf(asked, "apart");
    assert.equal(apart.error, undefined);
    assert.equal(pushed.text, apart.text);
    assert.ok(pushed.records > 10_000);
  });

  it("takes NULL for no text, in any type", async () => {
    const query = "select * from (values (null::date, null::int[]), ('2024-01-01', '{1}')) _(d, a)";
    for (const column of ["d", "a"]) {
      const none = await same({ query, steps: [{ filter: { column, in: ["", "null"] } }] });
      assert.equal(none.records, 0);
      const other = await same({ query, steps: [{ filter: { column, not: "" } }] });
      assert.equal(other.records, 2);
      const given = await same({ query, steps: [{ filter: { column, not: null } }] });
      assert.equal(given.records, 1);
    }
    const empty = "select row(null, null) as r, null::types_pair as p";
    assert.equal(
      (await same({ query: empty, steps: [{ filter: { column: "r", not: null } }] })).records,
      1,
    );
    assert.equal(
      (await same({ query: empty, steps: [{ filter: { column: "p", equals: null } }] })).records,
      1,
    );
  });

  it("compares byte by byte, whatever the collation of a column takes for equal", async () => {
    await runSql(
      url,
      "create collation pushdown_blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
    );
    const query = `select v collate pushdown_blind as v from (values ('a'), ('A'), ('ä')) _(v)`;
    const kept = await same({ query, steps: [{ filter: { column: "v", equals: "A" } }] });
    assert.equal(kept.text, '{"v":"A"}\n');
  });

  it("tells values of an extension's type by the text that the server prints", async () => {
    const query = "select v from (values ('Ann@x.org'::citext), ('bob@x.org')) as _(v)";
    const ann: Step = { filter: { column: "v", equals: "Ann@x.org" } };
    const found = await same({ query, steps: [ann], format: "csv" });
    assert.equal(found.text, "v\nAnn@x.org\n");
    const others: Step = { filter: { column: "v", not: "Ann@x.org" } };
    assert.equal((await same({ query, steps: [others], format: "csv" })).text, "v\nbob@x.org\n");
  });

  it("compares with texts that the server's encoding does not have", async () => {
    await runSql(
      url,
      "create database pushdown_latin encoding 'LATIN1' locale 'C' template template0",
    );
    const latin = new URL(url);
    latin.pathname = "/pushdown_latin";
    const query = "select * from (values ('größer'), ('x')) _(v)";
    for (const [condition, records] of [
      [{ in: ["ключ", "größer"] }, 1],
      [{ not: "ключ" }, 2],
    ] as const) {
      const asked = { url: latin.href, query, steps: [{ filter: { column: "v", ...condition } }] };
      const pushed = await outcomeOf(asked, "pushed");
      assert.deepEqual(pushed.text, (await outcomeOf(asked, "apart")).text);
      assert.equal(pushed.records, records);
    }
  });

  it("does not take a parameter that is missing from the query's own", async () => {
    const query = "select * from (values ('a'), ('b')) _(v) where v = $1";
    const steps = [{ filter: { column: "v", equals: "a" } }];
    assert.deepEqual(plannedAs({ url, query, steps }), ["postgres", "filter", "serialize"]);
    assert.deepEqual(plannedAs({ url, query, params: ["b"], steps }), [
      "postgres+filter+serialize",
    ]);
    assert.equal((await same({ query, params: ["b"], steps })).records, 0);
    assert.match((await same({ query, steps })).error!, /^source-/);
  });

  it("knows which parameters a query mentions", () => {
    assert.ok(mentionsParams("select 1", 0));
    assert.ok(mentionsParams("select $2, $1, $1", 2));
    for (const [query, count] of [
      ["select $1", 0],
      ["select 1", 1],
      ["select $2", 1],
      ["select $2", 2],
      ["select '$3', $1, $2", 2],
    ] as const) {
      assert.ok(!mentionsParams(query, count), query);
    }
  });

  it("tells how many rows the server expects to be left, not to be read", async () => {
    await runSql(
      url,
      "create table pushdown_many as select n % 100 as g from generate_series(1, 10000) n",
      "analyze pushdown_many",
    );
    const query = "select * from pushdown_many";
    const steps = [{ filter: { column: "g", equals: 5 } }];
    const { pushed, apart } = await both({ query, steps });
    assert.equal(pushed.text, apart.text);
    assert.equal(apart.expected, 10_000);
    assert.ok(pushed.expected! < 1000, `${pushed.expected}`);
  });
});

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;
