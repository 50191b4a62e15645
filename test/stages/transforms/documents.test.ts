import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as fc from "fast-check";
import type { Row, RowBatch, Tuple } from "../../../src/stages/nouns.ts";
import { documentMaker, setMember } from "../../../src/stages/transforms/documents.ts";
import { column } from "../../fixtures/pipelines.ts";

const name = fc.oneof(
  fc.string({ unit: "binary", maxLength: 5 }),
  fc.constantFrom("__proto__", "constructor", "then", "7", "0", 'a"b', "${x}", "\\", "\u2028"),
);
const table = fc.uniqueArray(name, { maxLength: 12 }).chain((names) =>
  fc.record({
    names: fc.constant(names),
    rows: fc.array(
      fc.tuple(...names.map(() => fc.oneof(fc.string(), fc.constantFrom(null, "t", "12")))),
    ),
  }),
);

function batchOf(names: readonly string[], rows: readonly Tuple[], type = "text"): RowBatch {
  const columns = names.map((each) => column(each, "string", type));
  return { shape: "tuples", columns, rows, bytes: 0 };
}

describe("documents", () => {
  it("have the members that adding one after another gives, whatever the names", () => {
    fc.assert(
      fc.property(table, ({ names, rows }) => {
        const toDocument = documentMaker(batchOf(names, rows));
        for (const tuple of rows) {
          const plain: Row = {};
          for (const [index, each] of names.entries()) setMember(plain, each, tuple[index]);
          const made = toDocument(tuple);
          assert.deepEqual(Object.entries(made), Object.entries(plain));
          assert.equal(Object.getPrototypeOf(made), Object.prototype);
        }
      }),
    );
  });

  it("hold small integers and booleans as such, and what is no text as it is", () => {
    const make = (type: string, cell: unknown) =>
      documentMaker(batchOf(["c"], [], type))([cell])["c"];
    assert.deepEqual([make("int2", "7"), make("int4", "-8"), make("int8", "9")], [7, -8, "9"]);
    assert.deepEqual(
      [make("bool", "t"), make("bool", "f"), make("bool", null)],
      [true, false, null],
    );
    assert.equal(make("int4", 5n), 5n);
  });

  it("are made for one list of columns once", () => {
    const batch = batchOf(["a"], []);
    assert.equal(documentMaker(batch), documentMaker({ ...batch }));
  });

  it("are the same where Node must not compile texts", async () => {
    const file = new URL("../../../src/stages/transforms/documents.ts", import.meta.url);
    const script = `
      const { documentMaker } = await import(${JSON.stringify(file.href)});
      const columns = ["b", "__proto__", "1"].map((name) => ({ name, type: "int4", json: "number" }));
      const batch = { shape: "tuples", columns, rows: [], bytes: 0 };
      console.log(JSON.stringify(Object.entries(documentMaker(batch)(["1", "2", null]))));`;
    const made: string[] = [];
    for (const flags of [[], ["--disallow-code-generation-from-strings"]]) {
      const args = [...flags, "--input-type=module", "-e", script];
      made.push((await promisify(execFile)(process.execPath, args)).stdout);
    }
    assert.equal(made[0], '[["1",null],["b",1],["__proto__",2]]\n');
    assert.equal(made[1], made[0]);
  });
});
