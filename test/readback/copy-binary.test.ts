import assert from "node:assert/strict";
import { createScanner } from "../../src/readback/records.ts";

const int = (value: number, bytes: 2 | 4): Buffer => {
  const made = Buffer.alloc(bytes);
  made.writeIntBE(value, 0, bytes);
  return made;
};
const row = (...fields: readonly (string | null)[]): Buffer =>
  Buffer.concat([
    int(fields.length, 2),
    ...fields.flatMap((field) =>
      field === null ? [int(-1, 4)] : [int(field.length, 4), Buffer.from(field, "latin1")],
    ),
  ]);
const head = (extension: string): Buffer =>
  Buffer.concat([
    Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0", "latin1"),
    int(extension.length, 4),
    Buffer.from(extension),
  ]);
const rows = [row("1", null), row(), row("", "x".repeat(300)), row(null), row("\xff\xff")];

/** Ends of rows in all of `parts`, as one file. */
function endsOf(parts: readonly Buffer[]): number[] {
  const scanner = createScanner({ extension: "pgbinary" })!;
  const ends: number[] = [];
  let before = 0;
  for (const part of parts) {
    scanner.scan(part, (end, isHeader) => {
      assert.equal(isHeader, false);
      ends.push(before + end);
    });
    before += part.length;
  }
  return ends;
}

describe("the scanner of binary COPY files", () => {
  it("finds where every row ends, wherever the bytes are cut", () => {
    for (const extension of ["", "more"]) {
      const start = head(extension);
      const file = Buffer.concat([start, ...rows, int(-1, 2)]);
      let end = start.length;
      const expected = rows.map(({ length }) => (end += length));
      assert.deepEqual(endsOf([file]), expected);
      assert.deepEqual(endsOf([...file].map((byte) => Buffer.of(byte))), expected);
      for (const at of file.keys())
        assert.deepEqual(endsOf([file.subarray(0, at), file.subarray(at)]), expected);
    }
  });

  it("finds no row behind the end", () => {
    assert.deepEqual(endsOf([Buffer.concat([head(""), int(-1, 2), row("1")])]), []);
    assert.deepEqual(endsOf([head("")]), []);
  });
});
