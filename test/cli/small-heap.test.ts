import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";

const module = new URL("../../src/cli/small-heap.ts", import.meta.url).href;

/** Bytes of the young generation of a process whose objects live for a while, after that. */
function youngBytes(prelude: string): number {
  const work = `
    import { getHeapSpaceStatistics } from "node:v8";
    const alive = [];
    for (let i = 0; i < 2_000_000; i += 1) alive[i % 100_000] = { i };
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
    console.log(young.space_size);`;
  const args = ["--input-type=module", "--eval", prelude + work];
  return Number(execFileSync(process.execPath, args, { encoding: "utf8" }));
}

describe("a small heap", () => {
  it("keeps its young generation as small as it began", () => {
    const small = youngBytes(`
      import { keepHeapSmall } from ${JSON.stringify(module)};
      keepHeapSmall();`);
    const grown = youngBytes("");
    assert.ok(small < grown / 2, `${small} bytes, where it grows to ${grown}`);
  });
});
