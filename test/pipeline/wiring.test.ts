import assert from "node:assert/strict";
import type { Kind } from "../../src/stages/nouns.ts";
import { findMisfit } from "../../src/pipeline/wiring.ts";

const kinds: Record<string, readonly [Kind, Kind]> = {
  postgres: ["nothing", "rows"],
  map: ["rows", "rows"],
  serialize: ["rows", "records"],
  chunk: ["records", "pages"],
  compress: ["pages", "frames"],
  encrypt: ["frames", "sealed"],
  spool: ["sealed", "durable"],
  upload: ["durable", "receipts"],
};
const whole = ["postgres", "serialize", "chunk", "compress", "encrypt", "spool", "upload"];

const misfit = (names: readonly string[]) =>
  findMisfit(names.map((name) => ({ name, takes: kinds[name]![0], gives: kinds[name]![1] })));

describe("wiring", () => {
  it("finds nothing wrong with stages that lead from a source to upload", () => {
    assert.equal(misfit(whole), undefined);
    assert.equal(misfit(["postgres", "map", "map", ...whole.slice(1)]), undefined);
  });

  it("names the stage to put where one is missing", () => {
    for (let absent = 1; absent < whole.length - 1; absent += 1) {
      const found = misfit(whole.toSpliced(absent, 1))!;
      assert.equal(found.index, absent);
      assert.match(found.problem, new RegExp(`\`${whole[absent]}\`.* must come between$`));
    }
  });

  it("names the stage that must follow where the list ends too early", () => {
    for (let length = 1; length < whole.length; length += 1) {
      const found = misfit(whole.slice(0, length))!;
      assert.equal(found.index, length);
      assert.match(found.problem, new RegExp(`\`${whole[length]}\`.* must follow$`));
    }
  });

  it("wants a source first, and only first", () => {
    assert.deepEqual(misfit(whole.slice(1)), {
      index: 0,
      problem: "serialize takes rows, but the first stage must be a source",
    });
    assert.deepEqual(misfit(["postgres", "postgres"]), {
      index: 1,
      problem: "postgres is a source and can only be the first stage",
    });
    assert.equal(misfit([])?.index, 0);
  });

  it("says how to leave encryption out, in so many words", () => {
    assert.match(
      misfit(whole.toSpliced(4, 1))!.problem,
      /public keys, a passphrase, or the word none/,
    );
  });

  it("refuses anything behind upload", () => {
    assert.equal(misfit([...whole, "map"])?.index, 7);
  });

  it("does not ask for a stage between two that stand the wrong way round", () => {
    assert.deepEqual(misfit(["postgres", "serialize", "map"]), {
      index: 2,
      problem:
        "map takes rows, but the stage before it gives records already; leave it out, or put it where there are rows",
    });
  });
});
