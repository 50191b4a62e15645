/** `make n folder` makes pages without bytes where a run would have stored them, `commit n folder` commits that run. */
import { generateKeyPairSync } from "node:crypto";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { commitRun, type CommitInit } from "../src/pipeline/commit.ts";
import { publicText } from "../src/pipeline/manifest-signature.ts";
import type { Plan } from "../src/pipeline/plan-types.ts";
import { openRunFolder } from "../src/pipeline/run-folder.ts";
import { openDestination } from "../src/stages/destinations/schemes.ts";
import { createPressure } from "../src/stages/pressure.ts";
import { pageName, type Checkpoint } from "../src/stages/pages/checkpoint.ts";

const [verb, count = "0", folder = ""] = process.argv.slice(2);
const pages = Number(count);
const extension = "ndjson.zst.age";
const out = join(folder, "out");
/** Near what the sources weigh, so that memory is minded as in a run that is near its budget. */
const budgetBytes = 96 * 2 ** 20;
const sha256OfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const run = await openRunFolder({
  dir: join(folder, "spool"),
  pipeline: "many-pages",
  configDigest: "c".repeat(64),
  meaning: "",
  destination: pathToFileURL(out).href,
  restart: false,
});
function makePages(): void {
  const target = join(out, "many-pages", run.record.runId);
  mkdirSync(target, { recursive: true });
  for (let page = 0; page < pages; page += 1)
    closeSync(openSync(join(target, pageName(page, extension)), "wx", 0o600));
}

async function commit(): Promise<void> {
  await mkdir(join(run.path, "incoming"), { recursive: true });
  const { privateKey } = generateKeyPairSync("ed25519");
  const plan = { keepsRows: true, layers: { compress: "zstd", encrypt: "age" } } as Plan;
  await commitRun({
    plan,
    folder: run,
    spool: spoolOfAll as unknown as CommitInit["spool"],
    destination: await openDestination(pathToFileURL(out).href, { timeoutMillis: 60_000 }),
    key: { privateKey, publicText: publicText(privateKey), publicPem: "", made: false },
    signal: new AbortController().signal,
    pressure: createPressure({ budgetBytes, threshold: 0.8, graduality: 4, spareBytes: 0 }),
  });
}

/** All a commit asks of a spool whose pages are acknowledged. */
const spoolOfAll = {
  acknowledged: pages,
  durable: pages,
  facts: {
    columns: [{ name: "id", type: "int8" }],
    end: {
      rows: pages,
      queryDigest: "d".repeat(64),
      consistency: { class: "stream", proof: {} },
    },
  },
  async *checkpoints(): AsyncGenerator<Partial<Checkpoint>> {
    for (let page = 0; page < pages; page += 1) {
      yield {
        page,
        name: pageName(page, extension),
        records: 1,
        total: page + 1,
        span: "whole",
        bytes: 1,
        final: page === pages - 1,
        sealedBytes: 0,
        sealedDigest: sha256OfNothing,
      };
    }
  },
  close: async () => {},
};

if (verb === "make") makePages();
else await commit();
