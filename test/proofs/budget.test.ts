/** Memory as the kernel counts it: rows that widen a hundredfold in the middle of a run, on both paths. */
import assert from "node:assert/strict";
import { proveBudget } from "../../prove/budget.ts";
import { openDesk, type Desk } from "../cli/spawn-cli.ts";
import { sharedPostgres } from "../servers/postgres.ts";

const MiB = 2 ** 20;
const narrow = "select i as id, repeat(md5(i::text), 8) as body from generate_series(1, 40000) i";
const wide = "select i as id, repeat(md5(i::text), 1000) as body from generate_series(1, 600) i";
/** What one run may weigh more than another of the same kind, for reasons of its own. */
const noiseBytes = 8 * MiB;

let desk: Desk;
before(async () => {
  desk = await openDesk();
  await desk.write("touch.mjs", "export default (row) => ({ ...row, touched: true });\n");
});
after(() => desk.remove());

async function runQuery(query: string, onRows: boolean, memory: unknown) {
  const { url } = await sharedPostgres();
  const stages = [
    { postgres: { url, query } },
    ...(onRows ? [{ map: "./touch.mjs" }] : []),
    { serialize: "ndjson" },
    { chunk: "256KiB" },
    { compress: "zstd" },
    { encrypt: "none" },
    { spool: "./spool" },
    { upload: "./out" },
  ];
  const name = onRows ? "rows" : "wire";
  await desk.write("export.yaml", JSON.stringify({ name, memory, stages }));
  return desk.json(["run", "export.yaml"]);
}

describe("the budget", () => {
  for (const [path, onRows] of [
    ["the rows path", true],
    ["the wire path", false],
  ] as const) {
    it(`holds on ${path} when rows widen a hundredfold, as it does when they do not`, async () => {
      const memory = { budget: "160MiB", threshold: 0.6, graduality: 3 };
      const { document: flat } = await runQuery(narrow, onRows, memory);
      const { document: jump } = await runQuery(`${narrow} union all ${wide}`, onRows, memory);
      assert.deepEqual([flat.rows, jump.rows], [40_000, 40_600]);
      assert.equal(jump.memoryBudgetBytes, 160 * MiB);
      assert.ok(jump.peakRssBytes < 160 * MiB, `${jump.peakRssBytes / MiB} MiB`);
      const more = jump.peakRssBytes - flat.peakRssBytes;
      assert.ok(more < noiseBytes, `${more / MiB} MiB more`);
    });
  }

  it("refuses a row that has no room in it, with its place, where functions need it whole", async () => {
    const query = `${narrow} union all select 7, repeat('x', 30000000)`;
    const { code, document } = await runQuery(query, true, "160MiB");
    assert.equal(code, 4);
    assert.match(
      document.error?.message ?? document.message,
      /^row 40001 is 28\.6 MiB wide.*expected at most .* MiB/,
    );
  });

  it("lets the same row through where no function needs it", async () => {
    const query = `${narrow} union all select 7, repeat('x', 30000000)`;
    const { code, document } = await runQuery(query, false, "160MiB");
    assert.deepEqual([code, document.rows], [0, 40_001]);
    assert.ok(document.peakRssBytes < 160 * MiB, `${document.peakRssBytes / MiB} MiB`);
  });

  it("holds at the least that a plan accepts, for pipelines drawn at random", async function () {
    this.timeout(120_000);
    // Two short ones; more are drawn by `npm run prove:budget`.
    const { failures } = await proveBudget({ trials: 2, seed: 351 });
    assert.deepEqual(failures, []);
  });
});
