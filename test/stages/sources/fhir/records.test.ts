/** What is counted of resources that come again. */
import assert from "node:assert/strict";
import {
  createRecordMaker,
  type RecordMaker,
} from "../../../../src/stages/sources/fhir/records.ts";
import { generationSize } from "../../../../src/stages/sources/fhir/seen.ts";

function give(records: RecordMaker, identity: string, included = false): void {
  const bytes = new Uint8Array(Buffer.from("{}\n"));
  records.make({ bytes, ends: Uint32Array.of(bytes.length), marks: [{ identity, included }] });
}

const countsOf = ({ rows, matches, answers, duplicates }: RecordMaker) => ({
  rows,
  matches,
  answers,
  duplicates,
});

describe("records of resources", () => {
  it("count one that is found again and again once", () => {
    const records = createRecordMaker();
    for (let times = 0; times < 5; times += 1) give(records, "Patient/1/1");
    assert.deepEqual(countsOf(records), { rows: 1, matches: 1, answers: 1, duplicates: 4 });
  });

  it("count one that was found, then came with others, and is found again, once", () => {
    const records = createRecordMaker();
    for (const included of [false, true, true, false, false])
      give(records, "Patient/1/1", included);
    assert.deepEqual(countsOf(records), { rows: 1, matches: 1, answers: 1, duplicates: 4 });
  });

  it("count one that came with others for long, and then is found, as found", () => {
    const records = createRecordMaker();
    const others = 3 * generationSize;
    for (let at = 0; at < others; at += 1) {
      if (at % 1000 === 0) give(records, "Patient/1/1", true);
      give(records, `Observation/${at}/1`);
    }
    give(records, "Patient/1/1");
    const { rows, matches } = records;
    assert.deepEqual([rows, matches], [others + 1, others + 1]);
  });
});
