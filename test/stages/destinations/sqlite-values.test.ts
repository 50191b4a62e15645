import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { PipelineError } from "../../../src/errors.ts";
import { writeRows } from "../../../src/stages/destinations/sqlite-rows.ts";
import { describeTable } from "../../../src/stages/destinations/sqlite-table.ts";

/** What a column of a type holds after a record said `json`, as SQL prints it with its type. */
function hold(type: string, json: string, strict = ""): string {
  const database = new DatabaseSync(":memory:");
  try {
    database.exec(`create table t (v ${type}) ${strict}`);
    const table = describeTable(database, { table: "t", key: [] });
    writeRows(database, table, Buffer.from(`{"v":${json}}\n`));
    const found = database.prepare("select typeof(v) || ' ' || quote(v) as held from t").get();
    return String(found!["held"]);
  } finally {
    database.close();
  }
}

const refusal = (type: string, json: string): string => {
  try {
    return `held as ${hold(type, json)}`;
  } catch (error) {
    assert(error instanceof PipelineError);
    assert.equal(error.code, "destination-refused");
    return error.message;
  }
};

describe("values on their way into SQLite", () => {
  it("keep every digit, as the column can hold them", () => {
    for (const [type, json, held] of [
      ["integer", "9007199254740993", "integer 9007199254740993"],
      ["integer", "-9223372036854775808", "integer -9223372036854775808"],
      ["", "9223372036854775807", "integer 9223372036854775807"],
      ["numeric(10,2)", "12.50", "real 12.5"],
      ["numeric", "1e5", "integer 100000"],
      ["numeric", "-0", "integer 0"],
      ["", "0.1", "real 0.1"],
      ["real", "0.30000000000000004", "real 0.30000000000000004"],
      ["double precision", "123456789012345678.5", "real 1.2345678901234568e+17"],
      ["varchar(9)", "12345678901234567890.120", "text '12345678901234567890.120'"],
      ["text", "1.0", "text '1.0'"],
    ] as const) {
      assert.equal(hold(type, json), held, `${type} ${json}`);
    }
  });

  it("are refused where SQLite would round them without a word", () => {
    const digits = /a number for v has more digits than an INTEGER or a REAL keeps; declare/;
    for (const [type, json] of [
      ["integer", "9223372036854775808"],
      ["", "0.1234567890123456789"],
      ["numeric", '"12345678901234567890"'],
      ["numeric", "1e-400"],
    ] as const) {
      assert.match(refusal(type, json), digits, `${type} ${json}`);
    }
    assert.match(refusal("real", "1e400"), /larger than a REAL/);
    assert.match(refusal("real", '"-1e400"'), /larger than a REAL/);
    assert.match(refusal("text", String.raw`"\ud800"`), /half a surrogate pair/);
    for (const text of [String.raw`"5\u0000"`, String.raw`" -1.5e3 \u0000 and more"`]) {
      for (const type of ["integer", "numeric", "real"])
        assert.match(refusal(type, text), /a number followed by a NUL/, `${type} ${text}`);
      assert.match(hold("text", text), /^text /);
    }
    assert.equal(hold("numeric", String.raw`"\u00005"`), "text ''");
  });

  it("are not numbered by SQLite where they are null", () => {
    assert.match(refusal("integer primary key", "null"), /null for v, where SQLite would number/);
    assert.equal(hold("int primary key", "null"), "null NULL");
    assert.equal(hold("integer primary key", "7"), "integer 7");
  });

  it("are texts where they are texts, and numbers only where the column is one", () => {
    for (const [type, json, held] of [
      ["numeric", '"007"', "integer 7"],
      ["numeric", '" +1.50 "', "real 1.5"],
      ["numeric", '"-.5e1"', "integer -5"],
      ["integer", '"5."', "integer 5"],
      ["datetime", '"2024-01-01T00:00:00Z"', "text '2024-01-01T00:00:00Z'"],
      ["integer", '"0x10"', "text '0x10'"],
      ["text", '"007"', "text '007'"],
      ["", '"007"', "text '007'"],
      ["real", '"Infinity"', "real 9.0e+999"],
      ["real", '"-Infinity"', "real -9.0e+999"],
      ["real", '"NaN"', "text 'NaN'"],
      ["text", '"\\u00e9\\n"', "text 'é\n'"],
    ] as const) {
      assert.equal(hold(type, json), held, `${type} ${json}`);
    }
  });

  it("keep booleans, nulls, bytes and nested values", () => {
    for (const [type, json, held] of [
      ["boolean", "true", "integer 1"],
      ["", "false", "integer 0"],
      ["text", "false", "text 'false'"],
      ["json", "true", "text 'true'"],
      ["json", '"a"', `text '"a"'`],
      ["json", "null", "null NULL"],
      ["jsonb", '{"a":1.50,"a":[2]}', `text '{"a":1.50,"a":[2]}'`],
      ["text", '[1, "}"]', `text '[1, "}"]'`],
      ["blob", String.raw`"\\x00Ff"`, "blob X'00FF'"],
      ["blob", String.raw`"\\x"`, "blob X''"],
      ["blob", String.raw`"\\x0"`, String.raw`text '\x0'`],
      ["text", String.raw`"\\x00"`, String.raw`text '\x00'`],
    ] as const) {
      assert.equal(hold(type, json), held, `${type} ${json}`);
    }
    assert.equal(hold("any", "1.0", "strict"), "real 1.0");
    assert.equal(hold("any", '"1"', "strict"), "text '1'");
    assert.equal(hold("int", '"1"', "strict"), "integer 1");
  });

  it("take numbers that SQLite cannot round by itself as JavaScript reads them", () => {
    const database = new DatabaseSync(":memory:");
    database.exec("create table t (v numeric)");
    const table = describeTable(database, { table: "t", key: [] });
    const bits = new DataView(new ArrayBuffer(8));
    const values = Array.from({ length: 2000 }, (_, at) => {
      bits.setUint32(0, Math.imul(at + 1, 2654435761));
      bits.setUint32(4, Math.imul(at + 7, 40503));
      return bits.getFloat64(0);
    }).filter(Number.isFinite);
    const lines = values.map((value) => `{"v":${JSON.stringify(value)}}\n`).join("");
    writeRows(database, table, Buffer.from(lines));
    const statement = database.prepare("select v from t");
    statement.setReadBigInts(true);
    const found = statement.all().map(({ v }) => Number(v));
    database.close();
    assert.deepEqual(found, values);
  });

  it("lose no record that is cut anywhere", () => {
    const record = '{ "v" : [1, {"a": "\\"}"}] }';
    assert.equal(hold("text", '"x\\\\"'), String.raw`text 'x\'`);
    const database = new DatabaseSync(":memory:");
    database.exec("create table t (v text)");
    const table = describeTable(database, { table: "t", key: [] });
    writeRows(database, table, Buffer.from(`${record}\n\n`));
    for (let length = 1; length < record.length; length += 1) {
      const torn = Buffer.from(`${record.slice(0, length)}\n`);
      assert.throws(() => writeRows(database, table, torn), /no JSON object/, `cut at ${length}`);
    }
    assert.deepEqual(database.prepare("select count(*) as n from t").get()!["n"], 1);
    database.close();
  });
});
