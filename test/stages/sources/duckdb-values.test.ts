import assert from "node:assert/strict";
import * as v from "valibot";
import { cellToJson } from "../../../src/stages/formats/json-text.ts";
import type { RowBatch } from "../../../src/stages/nouns.ts";
import { duckdb } from "../../../src/stages/sources/duckdb.ts";
import { collect, testContext } from "../../contract/stage-contract.ts";
import { nothing, refuses, tuplesOf } from "../../fixtures/sources.ts";

const read = (query: string): Promise<RowBatch[]> =>
  collect(duckdb.open(v.parse(duckdb.config, { query }), testContext(), nothing()));

type Sample = readonly [sql: string, column: string, text: string];

/** What is printed as DuckDB's own cast to text prints it, beside numbers without a fraction. */
const scalars: readonly Sample[] = [
  ["(-128)::tinyint", "tinyint number", "-128"],
  ["65535::usmallint", "usmallint number", "65535"],
  ["4294967295::uinteger", "uinteger number", "4294967295"],
  ["(-9223372036854775808)::bigint", "bigint number", "-9223372036854775808"],
  ["18446744073709551615::ubigint", "ubigint number", "18446744073709551615"],
  [`(-${2n ** 127n - 1n} - 1)::hugeint`, "hugeint number", `-${2n ** 127n}`],
  [`${2n ** 128n - 1n}::uhugeint`, "uhugeint number", `${2n ** 128n - 1n}`],
  [`'-${10n ** 60n + 7n}'::bignum`, "bignum number", `-${10n ** 60n + 7n}`],
  ["(-0.05)::decimal(4,2)", "decimal(4,2) number", "-0.05"],
  ["1.5::decimal(9,3)", "decimal(9,3) number", "1.500"],
  ["'-1234567890.12345678'::decimal(18,8)", "decimal(18,8) number", "-1234567890.12345678"],
  [`'${10n ** 28n}.123456789'::decimal(38,9)`, "decimal(38,9) number", `${10n ** 28n}.123456789`],
  ["0.1::float", "float number", "0.1"],
  ["3.4028235e38::float", "float number", "3.4028235e+38"],
  ["(-1.45283716e-11)::float", "float number", "-1.45283716e-11"],
  ["1e-45::float", "float number", "1e-45"],
  ["5e-324::double", "double number", "5e-324"],
  ["date '2000-02-29'", "date string", "2000-02-29"],
  ["'infinity'::date", "date string", "infinity"],
  ["'-infinity'::timestamptz", "timestamptz timestamptz", "-infinity"],
  ["'infinity'::timestamp_ms", "timestamp_ms timestamp", "infinity"],
  ["timestamp '1969-12-31 23:59:59.999999'", "timestamp timestamp", "1969-12-31 23:59:59.999999"],
  ["timestamp '2024-01-02 03:04:05.1200'", "timestamp timestamp", "2024-01-02 03:04:05.12"],
  [
    "timestamp_ns '2024-01-02 03:04:05.123456789'",
    "timestamp_ns timestamp",
    "2024-01-02 03:04:05.123456789",
  ],
  ["timestamp_s '2024-01-02 03:04:05'", "timestamp_s timestamp", "2024-01-02 03:04:05"],
  [
    "timestamptz '2024-01-02 03:04:05.5+05:30'",
    "timestamptz timestamptz",
    "2024-01-01 21:34:05.5+00",
  ],
  ["time '24:00:00'", "time string", "24:00:00"],
  ["'12:00:00.123456789'::time_ns", "time_ns string", "12:00:00.123456789"],
  ["'03:04:05.5-15:59:59'::timetz", "timetz string", "03:04:05.5-15:59:59"],
  ["'03:04:05+05:30'::timetz", "timetz string", "03:04:05+05:30"],
  [
    "interval '14 months -3 days 04:05:06.7'",
    "interval string",
    "1 year 2 months -3 days 04:05:06.7",
  ],
  [
    "uuid '00112233-4455-6677-8899-aabbccddeeff'",
    "uuid string",
    "00112233-4455-6677-8899-aabbccddeeff",
  ],
  ["'010101110'::bit", "bit string", "010101110"],
  ["'b'::enum('a', 'b')", "enum string", "b"],
  ["'x' || chr(0) || 'é😀'", "varchar string", "x\0é😀"],
  ["chr(65279) || 'short'", "varchar string", "\ufeffshort"],
  ["chr(65279) || 'longer than twelve bytes'", "varchar string", "\ufefflonger than twelve bytes"],
  [`'{"a": 1e999, "a": 1.0}'::json`, "json json", '{"a": 1e999, "a": 1.0}'],
];

/** What has a text of its own here: as PostgreSQL prints it. */
const different: readonly Sample[] = [
  ["true", "bool boolean", "t"],
  ["'nan'::double", "double number", "NaN"],
  ["'-inf'::float", "float number", "-Infinity"],
  ["'-0.0'::float", "float number", "-0"],
  ["'-0.0'::double", "double number", "-0"],
  ["'0044-03-15 (BC)'::date", "date string", "0044-03-15 BC"],
  ["'0001-12-31 (BC) 01:00:00'::timestamp", "timestamp timestamp", "0001-12-31 01:00:00 BC"],
  ["'\\x00\\xFFa'::blob", "blob string", "\\x00ff61"],
  ["''::blob", "blob string", "\\x"],
];

const nested: readonly Sample[] = [
  ["[1, null, 3]", "integer[] json", "[1,null,3]"],
  ["[['a', null], [], null]", "varchar[][] json", '[["a",null],[],null]'],
  ["[]::date[]", "date[] json", "[]"],
  ["{'b': 1, 'a': [1.50, 2]}", "struct json", '{"b":1,"a":[1.50,2.00]}'],
  ["{'2': 1, '1': 2, '__proto__': null}", "struct json", '{"2":1,"1":2,"__proto__":null}'],
  ["row(1, 'x')", "struct json", '[1,"x"]'],
  ["[{'a': 1}, null, {'a': null}]", "struct[] json", '[{"a":1},null,{"a":null}]'],
  ["map {'k': {'a': 1}, 'l': null}", "map json", '{"k":{"a":1},"l":null}'],
  ["map {1.5: [1], 2.5: []}", "map json", '{"1.5":[1],"2.5":[]}'],
  ["[map {'a': [1]}, map {}]", "map[] json", '[{"a":[1]},{}]'],
  ["union_value(num := 1)", "union json", '{"num":1}'],
  ["[array_value([1, 2], [3])]", "integer[][2][] json", "[[[1,2],[3]]]"],
  ["array_value(array_value(1, 2), null)", "integer[2][2] json", "[[1,2],null]"],
  ["['nan'::double, '1e300'::double]", "double[] json", '["NaN",1e+300]'],
  [
    "{'t': timestamptz '2024-01-01 00:00:00+00', 'b': '\\x00'::blob, 'j': '[1, 2]'::json}",
    "struct json",
    '{"t":"2024-01-01T00:00:00+00:00","b":"\\\\x00","j":[1, 2]}',
  ],
];

describe("values of DuckDB", () => {
  for (const [what, samples] of Object.entries({ scalars, different, nested }))
    it(`are exact: ${what}`, async () => {
      const query = `select ${samples.map(([sql]) => sql).join(", ")}`;
      const [batch] = await read(query);
      assert.deepEqual(
        batch!.columns.map(({ type, json }, at) => [
          `${type} ${json}`,
          batch!.rows[0]![at as never],
        ]),
        samples.map(([, column, text]) => [column, text]),
      );
      if (what !== "nested") return;
      for (const [at, column] of batch!.columns.entries())
        JSON.parse(cellToJson(column)((batch!.rows[0] as readonly string[])[at]));
    });

  it("are as DuckDB prints them, where nothing says otherwise", async () => {
    const query = `select ${scalars.map(([sql]) => `cast(${sql} as varchar)`).join(", ")}`;
    assert.deepEqual(
      tuplesOf(await read(query))[0],
      scalars.map(([, , text]) => text),
    );
  });

  it("may all be null", async () => {
    const all = [...scalars, ...different, ...nested];
    const members = all.map(([sql]) => `case when i < 0 then ${sql} end`);
    const query = `select ${members.join(", ")} from range(3) t(i)`;
    assert.deepEqual(
      tuplesOf(await read(query)),
      [0, 1, 2].map(() => all.map(() => null)),
    );
  });

  it("have every day of the calendar", async () => {
    const days =
      "select (date '1970-01-01' + (i * 97)::integer)::date d from range(-22000000, 22000000, 9001) t(i)";
    const query = `select d, strftime(d, '%-d %-m'), year(d) from (${days}) union all
      select date '1895-12-30' + i::integer, strftime(date '1895-12-30' + i::integer, '%-d %-m'),
        year(date '1895-12-30' + i::integer) from range(40000) t(i)`;
    const rows = tuplesOf(await read(query)) as [string, string, string][];
    assert.ok(rows.length > 44_000);
    for (const [text, dayAndMonth, year] of rows) {
      const [, shown, month, day, era] = /^(\d{4,})-(\d\d)-(\d\d)( BC)?$/.exec(text)!;
      assert.equal(`${Number(day)} ${Number(month)}`, dayAndMonth, text);
      assert.equal(era ? 1 - Number(shown) : Number(shown), Number(year), text);
    }
  }).timeout(20_000);

  it("are those of their row in every chunk, nested ones too", async () => {
    const query = `select i, [i, i + 1], {'a': i, 'k': 'fix'}, map {i: [i]}, array_value(i, 7),
      case when i % 3 = 0 then null else [{'s': 'text of row ' || i}] end from range(5000) t(i)`;
    const rows = tuplesOf(await read(query));
    assert.equal(rows.length, 5000);
    for (const [i, row] of rows.entries())
      assert.deepEqual(row, [
        `${i}`,
        `[${i},${i + 1}]`,
        `{"a":${i},"k":"fix"}`,
        `{"${i}":[${i}]}`,
        `[${i},7]`,
        i % 3 === 0 ? null : `[{"s":"text of row ${i}"}]`,
      ]);
  });

  it("are refused where they have no exact text", async () => {
    for (const value of [
      "'[1]'::json::variant",
      "'POINT(1 2)'::geometry",
      "['[1]'::json::variant]",
    ])
      await refuses(read(`select ${value} as v`), /column "v" .* cast of it/, "source-refused");
  });

  it("are refused where DuckDB alone takes them for JSON", async () => {
    for (const value of [
      "'[1,]'::json",
      "to_json('nan'::double)",
      "json_object('a', 'inf'::float)",
      "['{\"a\": 1,}'::json]",
    ])
      await refuses(read(`select ${value} as v`), /of type JSON is none.* cast to varchar/);
  });

  it("keep names that columns share", async () => {
    const [batch] = await read('select 1 as a, 2 as a, 3 as "A", 4 as "__proto__"');
    assert.deepEqual(
      batch?.columns.map(({ name }) => name),
      ["a", "a", "A", "__proto__"],
    );
    assert.deepEqual(batch?.rows, [["1", "2", "3", "4"]]);
  });
});
