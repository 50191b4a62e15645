/** Parquet files of ours, as DuckDB reads them: types, values, and what it leaves unread for what a row group says of itself. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import type { Column, Row, RowBatch, Tuple } from "../../../src/stages/nouns.ts";
import { duckdb } from "../../../src/stages/sources/duckdb.ts";
import { collect, testContext } from "../../contract/stage-contract.ts";
import { askDuckdb } from "../../fixtures/duckdb.ts";
import { column, documentBatches, tupleBatches } from "../../fixtures/pipelines.ts";
import { nothing, refuses } from "../../fixtures/sources.ts";
import { writeParquet } from "./written.ts";

const readQuery = (query: string) =>
  duckdb.open(v.parse(duckdb.config, { query }), testContext(), nothing());

describe("a Parquet file, as DuckDB reads it", () => {
  let folder: string;
  let files = 0;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-parquet-"));
  });
  after(() => rm(folder, { recursive: true }));

  /** The file's path, quoted. */
  async function save(batches: Iterable<RowBatch>, rowGroup = "1MiB"): Promise<string> {
    const path = join(folder, `${(files += 1)}.parquet`);
    await writeFile(path, Buffer.from((await writeParquet(batches, rowGroup)).file));
    return `'${path}'`;
  }
  const saveTuples = (columns: readonly Column[], rows: readonly Tuple[], rowGroup?: string) =>
    save(tupleBatches(columns, rows), rowGroup);
  const typesOf = async (path: string) =>
    (await askDuckdb(`describe from ${path}`)).map(([, type]) => type);

  it("has the types and the values of its source", async () => {
    const expected: readonly (readonly [
      Column,
      string,
      readonly [cell: string, value: string][],
    ])[] = [
      [column("a", "number", "int2"), "INTEGER", [["-32768", "-32768"]]],
      [column("b", "number", "int8"), "BIGINT", [["-9223372036854775808", "-9223372036854775808"]]],
      [
        column("c", "number", "bigint unsigned"),
        "UBIGINT",
        [["18446744073709551615", "18446744073709551615"]],
      ],
      [
        column("d", "number", "float4"),
        "FLOAT",
        [
          ["0.1", "0.1"],
          ["NaN", "nan"],
        ],
      ],
      [
        column("e", "number", "float8"),
        "DOUBLE",
        [
          ["-Infinity", "-inf"],
          ["5e-324", "5e-324"],
        ],
      ],
      [
        column("f", "boolean", "bool"),
        "BOOLEAN",
        [
          ["t", "true"],
          ["f", "false"],
        ],
      ],
      [
        column("g", "string", "date"),
        "DATE",
        [
          ["0001-01-01", "0001-01-01"],
          ["9999-12-31", "9999-12-31"],
        ],
      ],
      [
        column("h", "timestamp", "timestamp"),
        "TIMESTAMP",
        [["1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"]],
      ],
      [
        column("i", "timestamptz", "timestamptz"),
        "TIMESTAMP WITH TIME ZONE",
        [["2024-01-02 03:04:05.5+05:30", "2024-01-01 21:34:05.5+00"]],
      ],
      [column("j", "json", "jsonb"), "JSON", [['{"a": 1.10}', '{"a": 1.10}']]],
      [
        column("k", "string", "bytea"),
        "BLOB",
        [
          ["\\x00ff61", "\\x00\\xFFa"],
          ["\\x", ""],
        ],
      ],
      [
        column("l"),
        "VARCHAR",
        [
          ["é😀", "é😀"],
          ["", ""],
          ["a\0b", "a\0b"],
        ],
      ],
      [column("m", "number", "numeric"), "VARCHAR", [["1.50", "1.50"]]],
      [
        column("n", "number", "decimal(4,2)"),
        "DECIMAL(4,2)",
        [
          ["-99.99", "-99.99"],
          ["0", "0.00"],
        ],
      ],
      [
        column("o", "number", "decimal(38,10)"),
        "DECIMAL(38,10)",
        [["-1234567890123456789012345678.0123456789", "-1234567890123456789012345678.0123456789"]],
      ],
      [
        column("p", "timestamp", "timestamp_ns"),
        "TIMESTAMP_NS",
        [["2024-01-02 03:04:05.123456789", "2024-01-02 03:04:05.123456789"]],
      ],
    ];
    const columns = expected.map(([of]) => of);
    const rows = [0, 1, 2, 3].map((at) => expected.map(([, , values]) => values[at]));
    const path = await saveTuples(
      columns,
      rows.map((row) => row.map((pair) => pair?.[0] ?? null)),
    );
    assert.deepEqual(
      await typesOf(path),
      expected.map(([, type]) => type),
    );
    assert.deepEqual(
      await askDuckdb(`select * from ${path}`),
      rows.map((row) => row.map((pair) => pair?.[1] ?? null)),
    );
  });

  it("loses no row to what its row groups say of their least and greatest values", async () => {
    const texts = [
      "",
      "a",
      "😀",
      "\uffee",
      "\ue000z",
      "\u{10ffff}",
      "ab".repeat(80),
      "\uffee".repeat(50),
    ];
    const kinds: readonly (readonly [Column, readonly string[]])[] = [
      [column("x", "number", "float4"), ["NaN", "1.5", "-0", "0", "3.4e38", "-Infinity"]],
      [column("x", "number", "float8"), ["NaN", "1.5", "-0", "0", "5e-324", "Infinity"]],
      [column("x"), texts],
      [
        column("x", "string", "bytea"),
        ["\\x", "\\x00", "\\x7f", "\\x80", "\\xff00", `\\x${"ff".repeat(70)}`],
      ],
      [
        column("x", "number", "decimal(38,2)"),
        ["-1", "255.5", "256", "-123456789012345678901234567890123456.78"],
      ],
      [
        column("x", "number", "bigint unsigned"),
        ["0", "9223372036854775807", "18446744073709551615"],
      ],
      [column("x", "number", "int8"), ["-1", "0", "4294967296", "-9223372036854775808"]],
      [column("x", "string", "date"), ["0001-01-01", "1969-12-31", "1970-01-01", "9999-12-31"]],
      [
        column("x", "timestamptz", "timestamptz"),
        ["0001-01-01 00:00:00+00", "1970-01-01 00:00:00+05"],
      ],
    ];
    for (const [of, cells] of kinds) {
      const pairs = cells.flatMap((one) => cells.flatMap((other) => [[one], [other], [null]]));
      const path = await saveTuples([of], pairs, "6B");
      const [type] = await typesOf(path);
      const values = await askDuckdb(`select distinct x from ${path} where x is not null`);
      const conditions = values.flatMap(([value]) =>
        ["=", "<", ">=", "is distinct from"].map(
          (op) => `x ${op} '${value!.replaceAll("'", "''")}'::${type}`,
        ),
      );
      // A materialized row has left its group, and what is said of that, behind.
      const counts = conditions.map(
        (condition) => `select (select count(*) from ${path} where ${condition}) as found,
          (select count(*) from whole where ${condition}) as there`,
      );
      const whole = `with whole as materialized (select x from ${path})`;
      const answers = await askDuckdb(`${whole} ${counts.join(" union all ")}`);
      assert.equal(answers.length, conditions.length);
      for (const [at, [found, there]] of answers.entries())
        assert.equal(found, there, `${of.type}: ${conditions[at]}`);
      const groups = `select count(distinct row_group_id) > 2 from parquet_metadata(${path})`;
      assert.deepEqual(await askDuckdb(groups), [["true"]]);
    }
  }).timeout(30_000);

  it("has its rows in order over many row groups, none of them empty", async () => {
    const columns = [
      column("id", "number", "int8"),
      column("text"),
      column("half", "number", "float8"),
    ];
    const rows = Array.from({ length: 20_000 }, (_, id) => [
      `${id}`,
      id % 7 === 0 ? null : `row ${id}`,
      id % 2 === 0 ? `${id / 2}` : null,
    ]);
    const path = await saveTuples(columns, rows, "64KiB");
    assert.deepEqual(await askDuckdb(`select id, text, half::decimal(18,0) from ${path}`), rows);
    const groups = `from (select distinct row_group_id, row_group_num_rows n from parquet_metadata(${path}))`;
    assert.deepEqual(await askDuckdb(`select sum(n), min(n) > 0, count(*) > 5 ${groups}`), [
      ["20000", "true", "true"],
    ]);
  });

  it("has NULL for what a row has not, whatever the name", async () => {
    const rows = [JSON.parse('{"__proto__":1,"constructor":2,"c":3}') as Row, { c: 4 }];
    assert.deepEqual(await askDuckdb(`select * from ${await save(documentBatches(rows))}`), [
      ["1", "2", "3"],
      [null, null, "4"],
    ]);
  });

  it("may be empty, and wide", async () => {
    const types = [column("a", "number", "int4"), column("b", "json", "jsonb"), column("c")];
    const empty = await saveTuples(types, []);
    assert.deepEqual(await typesOf(empty), ["INTEGER", "JSON", "VARCHAR"]);
    assert.deepEqual(await askDuckdb(`select count(*) from ${empty}`), [["0"]]);
    const many = Array.from({ length: 1500 }, (_, at) => column(`c${at}`, "number", "int4"));
    const rows = [0, 1, 2].map((id) => many.map((_, at) => (at % 5 === id ? null : `${id * at}`)));
    assert.deepEqual(
      await askDuckdb(`select * from ${await saveTuples(many, rows, "8KiB")}`),
      rows,
    );
  });

  it("has what DuckDB itself was read for", async () => {
    const query = `select i::utinyint a, i::uinteger b, i::ubigint * 1000000000000000000 c, i::hugeint d, (i / 8)::float e,
      (i / 3)::decimal(18,6) f, date '1969-12-25' + i::integer g, timestamp '1969-12-25' + to_microseconds(i * 99999999999) h,
      make_timestamp_ns(i * 1234567890123) j, timestamptz '2024-01-01 00:00:00Z' + to_microseconds(i) k, i::varchar::blob l,
      if(i % 3 = 0, null, i % 2 = 0) m, md5(i::varchar)::uuid n, time '00:00:00' + to_microseconds(i * 7777777777) o
      from range(15) t(i)`;
    const path = await save(await collect(readQuery(query)), "1KiB");
    // Parquet has no HUGEINT; UUID and TIME are texts here.
    const asTexts = (from: string) =>
      `select * replace (d::varchar as d, n::varchar as n, o::varchar as o) from ${from}`;
    const kept = await askDuckdb(`${asTexts(path)} except all ${asTexts(`(${query})`)}`);
    assert.deepEqual(kept, []);
    assert.deepEqual(await askDuckdb(`select count(*) from ${path}`), [["15"]]);
    assert.deepEqual(
      (await typesOf(path)).join(" "),
      [
        "INTEGER BIGINT UBIGINT VARCHAR FLOAT DECIMAL(18,6) DATE TIMESTAMP TIMESTAMP_NS",
        "TIMESTAMP WITH TIME ZONE BLOB BOOLEAN VARCHAR VARCHAR",
      ].join(" "),
    );
    const endless = await collect(readQuery("select 'infinity'::timestamp_ns x"));
    await refuses(save(endless), /row 1 .*column "x"/, "transform-failed");
  });
});
