/** The thread that seals, under the flags of an export: what pages leave behind does not add up. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { leanEnv, leanFlags } from "../../bench/lean.ts";

const execute = promisify(execFile);
const file = join(import.meta.dirname, "../../src/workers/seal-worker.ts");
const pages = 60;

/** Seals pages in a thread and prints the bytes of its young generation. */
const script = `
  const { Worker } = require("node:worker_threads");
  const thread = new Worker(\`
    const { getHeapSpaceStatistics } = require("node:v8");
    const identity = { run: "r", records: 1, total: 1, span: "whole", bytes: 65536, chain: "ab".repeat(32), final: false };
    const content = new Uint8Array(new SharedArrayBuffer(65536));
    const compress = { codec: "zstd", level: 1 };
    import(${JSON.stringify(file)}).then(async ({ seal }) => {
      for (let page = 0; page < ${pages}; page += 1)
        await seal({ content, compress, identity: { ...identity, page } });
      const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
      console.log(young.physical_space_size);
    });
  \`, { eval: true });
`;

const youngBytes = async (flags: readonly string[]): Promise<number> => {
  const env = { ...process.env, ...leanEnv };
  const { stdout } = await execute(process.execPath, [...flags, "-e", script], { env });
  return Number(stdout);
};

describe("the sealing thread", () => {
  it("gives back the room its start took, and keeps its young generation small", async () => {
    const without = leanFlags.filter((flag) => flag !== "--expose-gc");
    const [kept, grown] = await Promise.all([youngBytes(leanFlags), youngBytes(without)]);
    assert.ok(kept > 0 && kept <= 2 ** 20, `${kept} bytes`);
    assert.ok(grown > kept, `${grown} bytes when it is left to V8`);
  });
});
