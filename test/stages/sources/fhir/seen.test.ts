import assert from "node:assert/strict";
import {
  carriedMost,
  createSeen,
  generationSize,
} from "../../../../src/stages/sources/fhir/seen.ts";

describe("what was seen", () => {
  it("is known again, and nothing else is", () => {
    const seen = createSeen();
    for (let i = 0; i < 20_000; i += 1) assert.equal(seen.add(`Patient/${i}/1`), false);
    for (let i = 0; i < 20_000; i += 1) assert.equal(seen.add(`Patient/${i}/1`), true);
    assert.equal(seen.add("Patient/1/2"), false);
    assert.equal(seen.forgets, false);
  });

  it("forgets nothing of two generations, however often all of them come again", function () {
    this.timeout(20_000);
    const seen = createSeen();
    for (const known of [false, true, true])
      for (let i = 0; i < 2 * generationSize; i += 1) assert.equal(seen.add(`${i}`), known);
    assert.equal(seen.forgets, false);
  });

  it("is remembered for a generation at least, then forgotten, and that is said", function () {
    this.timeout(20_000);
    const seen = createSeen();
    const many = 2.5 * generationSize;
    for (let i = 0; i < many; i += 1) seen.add(`${i}`);
    assert.equal(seen.forgets, true);
    for (let i = many - generationSize; i < many; i += 997) assert.equal(seen.add(`${i}`), true);
    assert.equal(seen.add("0"), false);
    assert.equal(seen.add("0"), true);
  });

  it("is remembered for as long as it comes again, however much comes between", () => {
    const seen = createSeen();
    seen.add("Patient/x/1");
    for (let i = 1; i < 4 * generationSize; i += 1) {
      seen.add(`${i}`);
      if (i % 500 === 0) assert.equal(seen.add("Patient/x/1"), true, `behind ${i} others`);
    }
  });

  it("remembers the last of the new ones, though more come again than are carried", function () {
    this.timeout(20_000);
    const seen = createSeen();
    const last = generationSize - carriedMost;
    for (let i = 0; i < 6 * generationSize; i += 1) {
      assert.equal(seen.add(`${i}`), false);
      if (i >= last && i % 3 === 0) assert.equal(seen.knows(`${i - last + 1}`), true, `${i}`);
    }
  });
});
