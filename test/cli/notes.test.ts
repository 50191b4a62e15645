import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { createNotes } from "../../src/cli/notes.ts";
import { paintFor } from "../../src/cli/screen.ts";

const plain = paintFor(new PassThrough() as unknown as NodeJS.WriteStream);

function collect(tell: (notes: ReturnType<typeof createNotes>) => void): string[] {
  const lines: string[] = [];
  const notes = createNotes((line) => lines.push(line), plain);
  tell(notes);
  notes.end();
  return lines;
}

describe("notes and warnings", () => {
  it("that are alike are told three times, and a million of them counted", () => {
    const lines = collect((notes) => {
      for (let row = 0; row < 1e6; row += 1) notes.warn(`row ${row} has no date`);
      notes.info("done");
    });
    assert.deepEqual(lines, [
      "warning: row 0 has no date\n",
      "warning: row 1 has no date\n",
      "warning: row 2 has no date\n",
      "note: done\n",
      "note: 999,997 more like these were left out\n",
    ]);
  });

  it("that all differ are bounded too, in number and in length", () => {
    const words = (number: number) => number.toString(2).replaceAll("0", "a").replaceAll("1", "b");
    const lines = collect((notes) => {
      for (let row = 0; row < 10_000; row += 1) notes.warn(words(row).padEnd(5000, "x"));
    });
    assert.equal(lines.length, 201);
    assert.ok(lines.every((line) => line.length < 2100));
  });

  it("cannot move the cursor or begin a line of their own colour", () => {
    const [line = ""] = collect((notes) => notes.warn("\u001b[2Jgone\r"));
    assert.equal(line, "warning: \ufffd[2Jgone\ufffd\n");
  });
});
