import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readdir, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Pipeline } from "../../src/pipeline/define.ts";
import { run, type RunOptions } from "../../src/pipeline/run.ts";
import type { Progress } from "../../src/pipeline/summary.ts";
import { ndjson } from "../../src/stages/sources/ndjson.ts";
import { generateAgeIdentity, identityToRecipient } from "../../src/workers/age.ts";
import {
  countedRows,
  documentBatches,
  makePipeline,
  numbered,
  plainOf,
  readPageFiles,
  sourceEnd,
  sourceOf,
  testEnv,
  useFolder,
  type Counted,
  type Parts,
} from "../fixtures/pipelines.ts";
import { needTools } from "../fixtures/stock-tools.ts";

const rows = 400;
const plain = (count = rows) =>
  Array.from({ length: count }, (_, id) => `${JSON.stringify(numbered(id))}\n`).join("");

const go = (pipeline: Pipeline, options: RunOptions = {}) =>
  run(pipeline, { env: testEnv, ...options });

/** The file that remembers the last commit to a folder. */
const lastOf = (to: string): string => {
  const destination = createHash("sha256").update(pathToFileURL(to).href).digest("hex");
  return `last-${destination.slice(0, 16)}.json`;
};

describe("run", () => {
  const folder = useFolder();

  /** Folders of a test's own, and pipelines that use them. */
  function place() {
    const path = folder.next();
    const dir = join(path, "spool");
    const to = join(path, "out");
    const pipeline = (counted: Partial<Counted> = {}, parts: Partial<Parts> = {}) =>
      makePipeline({ source: countedRows({ rows, ...counted }), dir, to, ...parts });
    const runFolder = async () =>
      join(to, "observations", (await readdir(join(to, "observations")))[0]!);
    const restored = async () => plainOf(await readPageFiles(await runFolder()));
    return { path, to, pipeline, runFolder, restored, spool: join(dir, "observations") };
  }

  /** Stops a run at the source's batch of this number. */
  async function stopAt(
    batch: number,
    { pipeline, runFolder }: ReturnType<typeof place>,
    counted: Partial<Counted> = {},
  ) {
    const stop = new AbortController();
    const onBatch = async (number: number) => {
      if (number !== batch) return;
      const stored = async () => (await readPageFiles(await runFolder())).size;
      // Pages that were begun get the time to become durable together, and the first of them to be stored.
      for (let waits = 0; waits < 500 && !(await stored().catch(() => 0)); waits += 1)
        await sleep(10);
      stop.abort();
    };
    await assert.rejects(go(pipeline({ ...counted, onBatch }), { signal: stop.signal }), {
      code: "stopped",
      exitCode: 75,
    });
  }

  it("exports an NDJSON file that stock tools restore, byte for byte", async function () {
    needTools(this, "age", "zstd", "sha256sum");
    const { path, to, runFolder } = place();
    await mkdir(path);
    const input = join(path, "in.ndjson");
    await writeFile(input, plain());
    const key = await generateAgeIdentity();
    await writeFile(join(path, "key.txt"), `${key}\n`, { mode: 0o600 });
    const summary = await go(
      makePipeline({
        source: ndjson(input),
        encrypt: { to: [await identityToRecipient(key)] },
        dir: join(path, "spool"),
        to,
      }),
    );
    const cwd = await runFolder();
    const restore = `for p in *.age; do age -d -i ${path}/key.txt $p | zstd -dq; done`;
    const restored = execFileSync("sh", ["-c", restore], { cwd, maxBuffer: 1 << 26 });
    assert.equal(restored.toString(), plain());
    execFileSync("sha256sum", ["-c", "--quiet", "SHA256SUMS"], { cwd });
    assert.equal(summary.rows, rows);
  });

  it("says what it did", async () => {
    const { pipeline, to } = place();
    const summary = await go(pipeline());
    const url = `file://${to}/observations/${summary.runId}`;
    const { pages, bytesOut, stages, seconds, peakRssBytes, bottleneck, signer, ...rest } = summary;
    assert.deepEqual(rest, {
      runId: summary.runId,
      pipeline: "observations",
      slot: null,
      state: "committed",
      rows,
      bytesIn: plain().length,
      memoryBudgetBytes: 512 * 2 ** 20,
      destination: url,
      manifest: `${url}/manifest.json`,
      consistency: "stream",
      layers: { extension: "ndjson", compress: "zstd", encrypt: "none" },
      opensWith: null,
      rejected: {},
      resumedFrom: null,
      traceId: null,
    });
    assert.ok(pages > 3 && bytesOut > 0 && seconds > 0 && peakRssBytes > 2 ** 20);
    assert.match(signer, /^ed25519:/);
    const names = stages.map(({ name }) => name);
    assert.deepEqual(names, ["test-source", "serialize", "chunk", "seal", "spool", "upload"]);
    assert.ok(bottleneck === null || names.includes(bottleneck));
  });

  it("leaves nothing of a committed run in the spool but what the next one must know", async () => {
    const here = place();
    await go(here.pipeline());
    assert.deepEqual((await readdir(here.spool)).toSorted(), [lastOf(here.to), "lock.db"]);
    await go(here.pipeline());
    const last = JSON.parse(await readFile(join(here.spool, lastOf(here.to)), "utf8")) as object;
    assert.equal("generation" in last && last.generation, 2);
  });

  it("commits an export without rows", async () => {
    const here = place();
    const summary = await go(here.pipeline({ rows: 0 }));
    assert.deepEqual([summary.rows, summary.pages], [0, 1]);
    assert.equal(await here.restored(), "");
  });

  it("tells its progress, and once more at the end", async () => {
    const told: Progress[] = [];
    const here = place();
    await go(here.pipeline(), { onProgress: (progress) => void told.push(progress) });
    const last = told.at(-1)!;
    assert.equal(last.phase, "committing");
    assert.deepEqual([last.rows, last.bytesIn], [rows, plain().length]);
    assert.equal(last.pages, last.pagesUploaded);
  });

  it("goes on, and says so once, where the progress's listener throws or rejects", async () => {
    const thrown = () => {
      throw new TypeError("Ada");
    };
    const rejected = (() => Promise.reject(new TypeError("Ada"))) as () => void;
    for (const onProgress of [thrown, rejected]) {
      const here = place();
      const warned: string[] = [];
      const log = { info() {}, warn: (text: string) => void warned.push(text) };
      await go(here.pipeline(), { onProgress, log });
      assert.deepEqual(warned, [
        "onProgress threw TypeError, and is told no more; the run goes on",
      ]);
    }
  });

  it("restores what went in, however often it was stopped on the way", async () => {
    const below = createRandom(20260102);
    for (let stops = 0; stops < 50;) {
      const here = place();
      let attempts = 0;
      for (let committed = false; !committed; attempts += 1) {
        const stop = new AbortController();
        const at = below(16);
        const timer = setTimeout(() => stop.abort(), 20 + below(250));
        const onBatch = (batch: number) => void (batch === at && stop.abort());
        committed = await go(here.pipeline({ onBatch }), { signal: stop.signal }).then(
          ({ resumedFrom, runId }) =>
            assert.equal(resumedFrom, attempts > 0 ? runId : null) ?? true,
          (error: { code: string }) => assert.equal(error.code, "stopped") ?? false,
        );
        clearTimeout(timer);
      }
      stops += attempts - 1;
      assert.equal(await here.restored(), plain());
      assert.equal((await readdir(join(here.to, "observations"))).length, 1, "one folder a run");
    }
  }).timeout(120_000);

  it("restores what went in, however often it was killed on the way", async () => {
    const below = createRandom(7);
    const here = place();
    const program = fileURLToPath(new URL("crash-run.ts", import.meta.url));
    for (let kills = 0; kills < 5; kills += 1) {
      const child = spawn(process.execPath, [program, here.path], {
        env: testEnv,
        stdio: "ignore",
      });
      setTimeout(() => child.kill("SIGKILL"), 300 + below(400));
      await once(child, "exit");
    }
    await go(here.pipeline());
    assert.equal(await here.restored(), plain());
  }).timeout(60_000);

  it("uploads no page twice and makes none again that is durable", async () => {
    const here = place();
    await stopAt(5, here);
    const kept = await readPageFiles(await here.runFolder());
    assert.ok(kept.size > 0);
    await go(here.pipeline());
    const all = await readPageFiles(await here.runFolder());
    for (const [name, bytes] of kept) assert.deepEqual(all.get(name), bytes);
    assert.equal(plainOf(all), plain());
  });

  it("needs the source no more once the last page is durable", async () => {
    const here = place();
    await mkdir(here.path);
    // A file where the destination's folder should be: everything becomes durable, nothing is stored.
    await writeFile(here.to, "");
    await assert.rejects(go(here.pipeline()), { exitCode: 5 });
    await rm(here.to);
    let asked = 0;
    const { resumedFrom } = await go(here.pipeline({ onBatch: () => void (asked += 1) }));
    const durable = asked === 0;
    assert.notEqual(resumedFrom, null);
    assert.equal(await here.restored(), plain());
    assert.ok(durable || asked > 0);
  });

  it("refuses to go on where the source gives other rows, and begins anew when told", async () => {
    const here = place();
    await stopAt(6, here);
    const other = (id: number) => ({ ...numbered(id), text: id === 3 ? "changed" : "x" });
    await assert.rejects(go(here.pipeline({ row: other })), {
      code: "source-changed",
      message: /first difference in page 0/,
    });
    await assert.rejects(go(here.pipeline({ rows: 60 })), { code: "source-changed" });
    const { resumedFrom, rows: count } = await go(here.pipeline({ row: other }), { restart: true });
    assert.deepEqual([resumedFrom, count], [null, rows]);
  });

  it("finishes what only its last step is missing of, whatever the stages are by now", async () => {
    const here = place();
    const taken = async () => join(await here.runFolder(), "manifest.json", "taken");
    const onBatch = async (number: number) => {
      if (number !== 6) return;
      for (let waits = 0; waits < 500; waits += 1) {
        if (await here.runFolder().catch(() => undefined)) break;
        await sleep(10);
      }
      await mkdir(await taken(), { recursive: true });
    };
    await assert.rejects(go(here.pipeline({ onBatch })), { exitCode: 6 });
    assert.ok((await readdir(here.spool)).includes("manifest.json"));
    await rm(join(await here.runFolder(), "manifest.json"), { recursive: true });
    const changed = here.pipeline({ rows: 7 }, { compress: "gzip" });
    const finished = await go(changed);
    assert.deepEqual([finished.rows, finished.resumedFrom], [rows, finished.runId]);
    assert.equal(finished.layers.compress, "zstd", "as it was made");
    assert.equal(await here.restored(), plain());
    const next = await go(changed);
    assert.deepEqual([next.rows, next.layers.compress], [7, "gzip"]);
  });

  it("refuses to go on where the stages, or what they lead to, have changed", async () => {
    const here = place();
    await stopAt(5, here);
    await assert.rejects(go(here.pipeline({}, { compress: "gzip" })), {
      code: "config-changed",
      message: /--restart/,
    });
    const elsewhere = place();
    const moving = (to: string) =>
      go(elsewhere.pipeline({}, { to: "${env:TO}" }), { env: { ...testEnv, TO: to } });
    const stop = AbortSignal.timeout(1);
    await assert.rejects(
      go(elsewhere.pipeline({}, { to: "${env:TO}" }), {
        env: { ...testEnv, TO: elsewhere.to },
        signal: stop,
      }),
      { code: "stopped" },
    );
    // A first attempt that made a page durable; one that got nowhere would be let go.
    await mkdir(join(elsewhere.spool, "pages"), { recursive: true });
    await writeFile(join(elsewhere.spool, "pages", "00000000.ndjson.zst"), "");
    await assert.rejects(moving(`${elsewhere.to}-2`), {
      code: "config-changed",
      message: /destination have changed/,
    });
    await moving(elsewhere.to);
    assert.equal(await elsewhere.restored(), plain());
  });

  it("runs one at a time for a pipeline", async () => {
    const here = place();
    const started = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const first = go(
      here.pipeline({
        onBatch: async () => {
          started.resolve();
          await released.promise;
        },
      }),
    );
    await started.promise;
    await assert.rejects(go(here.pipeline()), { code: "already-running", exitCode: 7 });
    released.resolve();
    assert.equal((await first).state, "committed");
  });

  it("finds its export committed when it died between the manifest and its own record of it", async () => {
    const here = place();
    // Where the record of the commit is to be written there is a folder, so writing it fails.
    const obstacle = join(here.spool, `${lastOf(here.to)}.incoming`);
    const onBatch = async () => {
      await mkdir(obstacle).catch(() => {});
    };
    await assert.rejects(go(here.pipeline({ onBatch })));
    const manifest = await readFile(join(await here.runFolder(), "manifest.json"));
    await rmdir(obstacle);
    let asked = 0;
    const summary = await go(here.pipeline({ onBatch: () => void (asked += 1) }));
    assert.equal(asked, 0, "the source is not asked again");
    assert.deepEqual(await readFile(join(await here.runFolder(), "manifest.json")), manifest);
    assert.equal(summary.rows, rows);
    assert.equal((await readdir(join(here.to, "observations"))).length, 1);
    assert.deepEqual((await readdir(here.spool)).toSorted(), [lastOf(here.to), "lock.db"]);
  });

  it("finds its export committed when it died while tidying up", async () => {
    const here = place();
    let record = "";
    const onBatch = async () =>
      void (record = await readFile(join(here.spool, "run.json"), "utf8"));
    const first = await go(here.pipeline({ onBatch }));
    await writeFile(join(here.spool, "run.json"), record);
    const again = await go(here.pipeline({ onBatch }));
    assert.deepEqual(
      [again.runId, again.rows, again.pages],
      [first.runId, first.rows, first.pages],
    );
    const { runId } = await go(here.pipeline());
    assert.notEqual(runId, first.runId, "then the next run is a new one");
  });

  it("does not commit where fewer records are in the pages than the source proved", async () => {
    const here = place();
    const [batch, last] = documentBatches([{ id: 1 }, { id: 2 }]);
    const source = sourceOf(() => [batch!, { ...last!, end: sourceEnd(3) }]);
    await assert.rejects(go(here.pipeline({}, { source })), {
      code: "integrity-failed",
      message: /3 rows.*2 records/,
    });
    assert.ok(!(await readdir(await here.runFolder())).includes("manifest.json"));
  });

  it("leaves no thread and no lock behind when it cannot even start", async () => {
    const here = place();
    const pipeline = here.pipeline();
    const broken = { ...pipeline, spec: { ...pipeline.spec, telemetry: { otlp: "no URL" } } };
    const threads = () =>
      process.getActiveResourcesInfo().filter((what) => what === "MessagePort").length;
    const earlier = threads();
    await assert.rejects(go(broken));
    assert.ok(threads() <= earlier, "threads are left");
    assert.equal((await go(pipeline)).state, "committed");
  });

  it("refuses a spool that others may look into", async () => {
    const here = place();
    await mkdir(here.spool, { recursive: true, mode: 0o755 });
    await assert.rejects(go(here.pipeline()), { code: "config-invalid", message: /chmod 700/ });
  });
});

/** The same numbers every time, each below what is asked for. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}
