import assert from "node:assert/strict";
import * as fc from "fast-check";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { digestOf } from "../../src/pipeline/run-folder-unfinished.ts";
import { run } from "../../src/pipeline/run.ts";
import type { Pipeline } from "../../src/pipeline/define.ts";
import {
  findLeap,
  outdated,
  removeOutdated,
  type StoredRun,
} from "../../src/pipeline/retention.ts";
import { slotsOf } from "../../src/pipeline/schedule.ts";
import type { KeepConfig } from "../../src/pipeline/spec.ts";
import { openDestination } from "../../src/stages/destinations/schemes.ts";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import { countedRows, makePipeline, testEnv, useFolder } from "../fixtures/pipelines.ts";

const idOf = (day: number) =>
  `${new Date(Date.UTC(2026, 0, day)).toISOString().replace(/[-:.]/g, "")}-0000000a`;
const now = new Date(Date.UTC(2026, 0, 31));
const runs = (...days: readonly number[]): StoredRun[] =>
  days.map((day) => ({ id: idOf(day), complete: true }));

describe("keep", () => {
  const folder = useFolder();

  it("lets go what neither `runs` nor `days` keeps", () => {
    const stored = runs(1, 2, 28, 29, 30);
    const left = (keep: KeepConfig) => outdated(stored, keep, { current: idOf(30), now });
    assert.deepEqual(left({ runs: 2 }), [idOf(1), idOf(2), idOf(28)]);
    assert.deepEqual(left({ days: 10 }), [idOf(1), idOf(2)]);
    assert.deepEqual(left({ runs: 4, days: 1 }), [idOf(1)]);
    assert.deepEqual(left({}), []);
  });

  it("tells a clock that leapt ahead from exports that are rare", () => {
    const leapt = (days: number, ...others: readonly number[]) =>
      findLeap(runs(...others, 31), { days }, { current: idOf(31), now }) !== undefined;
    assert.ok(leapt(10, 1, 2, 3), "daily, and then four weeks of nothing");
    assert.ok(!leapt(10, 28, 29, 30));
    assert.ok(!leapt(1, 3, 10, 17, 24), "weekly, and kept for a day");
    assert.ok(!leapt(10));
    const during = { current: idOf(31), now: new Date(Date.UTC(2026, 11, 31)) };
    const seen = findLeap(runs(28, 29, 30, 31), { days: 10 }, during);
    assert.equal(seen?.from, now.getTime(), "while the run went on");
    assert.ok(!findLeap(runs(1, 31), { runs: 1 }, { current: idOf(31), now }));
  });

  it("takes no time for a leap of the clock in which no export was due", () => {
    const leapOf = (cron: string, ...days: readonly number[]) => {
      const slots = slotsOf({ cron, timezone: "UTC", overlap: "skip" });
      const current = days.at(-1)!;
      const now = new Date(Date.UTC(2026, 0, current, 1));
      return findLeap(runs(...days), { days: 1 }, { current: idOf(current), now, slots });
    };
    assert.equal(leapOf("0 0 1 * *", 1, 32), undefined, "the second month");
    assert.equal(leapOf("0 0 * * 1-5", 7, 8, 9, 12), undefined, "behind a weekend");
    assert.ok(leapOf("0 0 1 * *", 1, 32, 32 + 365));
    assert.ok(leapOf("0 0 * * 1-5", 7, 8, 9, 13));
  });

  it("does not count a leap of the clock as age, however many exports come behind it", () => {
    const before = [1, 2, 3, 4];
    for (let since = 400; since < 420; since += 1) {
      const behind = Array.from({ length: since - 399 }, (_, at) => 400 + at);
      const stored = runs(...before, ...behind);
      const asking = { current: idOf(since), now: new Date(Date.UTC(2026, 0, since)) };
      const leap = findLeap(stored, { days: 10 }, asking);
      const gone = outdated(stored, { days: 10 }, { ...asking, leap });
      // Ten days by the clock that leapt are ten days, too.
      const past = [...before, ...behind].filter((day) => day + (day < 9 ? 396 : 0) < since - 10);
      assert.deepEqual(gone, past.map(idOf), `${since}`);
    }
  });

  it("removes nothing by age under a clock that leapt ahead, and says so", async () => {
    const { to, first, second, warnings, retention } = await twoExports();
    const stored = () => readdir(join(to, "observations"));
    const ahead = new Date(Date.now() + 400 * 86_400_000);
    const current = `${ahead.toISOString().replace(/[-:.]/g, "")}-0000000a`;
    await cp(join(to, "observations", second), join(to, "observations", current), {
      recursive: true,
    });
    await removeOutdated({ ...retention, keep: { days: 90 }, current, now: ahead });
    assert.deepEqual((await stored()).toSorted(), [first, second, current]);
    assert.match(warnings.join(), /2 older exports stay for now: .* the clock may have leapt/);
    const later = new Date(ahead.getTime() + 86_400_000);
    const next = `${later.toISOString().replace(/[-:.]/g, "")}-0000000a`;
    await cp(join(to, "observations", current), join(to, "observations", next), {
      recursive: true,
    });
    await removeOutdated({ ...retention, keep: { days: 90 }, current: next, now: later });
    assert.equal((await stored()).length, 4);
  });

  it("puts a damaged note of what leaves aside, says so, and goes on", async () => {
    const { to, first, second, warnings, retention } = await twoExports();
    const name = `leaving-${digestOf(pathToFileURL(to).href)}.json`;
    for (const text of ["{ half", '{"runs":["x"],"digest":"0"}']) {
      await writeFile(join(retention.folder, name), text);
      await removeOutdated({ ...retention, keep: { runs: 9 } });
      assert.deepEqual(await notes(retention.folder), [`${name}.damaged`]);
    }
    assert.deepEqual((await readdir(join(to, "observations"))).toSorted(), [first, second]);
    assert.match(warnings.join(), /is damaged and was put aside/);
    await mkdir(join(retention.folder, name));
    await removeOutdated(retention);
    assert.deepEqual(await readdir(join(to, "observations")), [second]);
    assert.deepEqual(await notes(retention.folder), [`${name}.damaged`]);
  });

  it("never touches the newest, the current, what is not complete or not ours", () => {
    const run = fc.record({
      day: fc.integer({ min: 1, max: 40 }),
      complete: fc.boolean(),
      ours: fc.boolean(),
    });
    const keeps = fc.record(
      { runs: fc.integer({ min: 1, max: 5 }), days: fc.integer({ min: 1, max: 40 }) },
      { requiredKeys: [] },
    );
    const check = fc.property(fc.array(run), keeps, fc.nat(), (all, keep, pick) => {
      const stored = all.map(({ day, complete, ours }, at) => ({
        id: ours ? `${idOf(day).slice(0, -2)}${String(at % 100).padStart(2, "0")}` : `notes-${at}`,
        complete,
      }));
      const current = stored[pick % Math.max(1, stored.length)]?.id ?? idOf(1);
      const gone = outdated(stored, keep, { current, now });
      const complete = stored.filter((run) => run.complete && !run.id.startsWith("notes"));
      const newest = complete
        .map(({ id }) => id)
        .toSorted()
        .at(-1);
      assert.ok(newest === undefined || !gone.includes(newest));
      assert.ok(!gone.includes(current));
      for (const id of gone) assert.ok(complete.some((run) => run.id === id));
      const left = complete.length - gone.length;
      if (keep.runs !== undefined) assert.ok(left >= Math.min(keep.runs, complete.length));
    });
    fc.assert(check);
  });

  const keeping = (dir: string, to: string, keep: KeepConfig): Pipeline => {
    const pipeline = makePipeline({ source: countedRows({ rows: 200 }), dir, to });
    return { ...pipeline, spec: { ...pipeline.spec, schedule: { cron: "0 0 * * *", keep } } };
  };

  it("removes older exports once a later one is committed, and nothing else", async () => {
    const [dir, to] = [folder.next(), folder.next()];
    const place = join(to, "observations");
    const ids: string[] = [];
    for (let at = 0; at < 4; at += 1)
      ids.push((await run(keeping(dir, to, { runs: 2 }), { env: testEnv })).runId);
    assert.deepEqual((await readdir(place)).toSorted(), ids.slice(2));
    await mkdir(join(place, idOf(1)));
    await writeFile(join(place, idOf(1), "00000000.ndjson"), "somebody's, at work");
    const { runId } = await run(keeping(dir, to, { runs: 1 }), { env: testEnv });
    assert.deepEqual((await readdir(place)).toSorted(), [idOf(1), runId]);
  });

  /** Two exports, and what removes the first of them. */
  async function twoExports() {
    const [dir, to] = [folder.next(), folder.next()];
    const first = await run(keeping(dir, to, {}), { env: testEnv });
    const second = await run(keeping(dir, to, {}), { env: testEnv });
    const destination = await openDestination(to, { timeoutMillis: 1000 });
    const warnings: string[] = [];
    const retention = {
      destination,
      keep: { runs: 1 },
      pipeline: "observations",
      current: second.runId,
      folder: join(dir, "observations"),
      now,
      signal: new AbortController().signal,
      log: { info() {}, warn: (text: string) => void warnings.push(text) },
    };
    return { dir, to, first: first.runId, second: second.runId, destination, warnings, retention };
  }

  it("takes the manifest first; what a crash left of an export goes with the next run", async () => {
    const { to, first, second, destination, warnings, retention } = await twoExports();
    const removed: string[] = [];
    const breaking: Destination = {
      ...destination,
      async remove(name, signal) {
        if (removed.push(name) > 2) throw new Error("cut off");
        await destination.remove!(name, signal);
      },
    };
    await removeOutdated({ ...retention, destination: breaking });
    assert.match(removed[0]!, /manifest\.json$/);
    assert.match(warnings.join(), /the next run tries again/);
    const half = await readdir(join(to, "observations", first));
    assert.ok(half.length > 0 && !half.includes("manifest.json"));
    await removeOutdated({ ...retention, keep: { runs: 9 } });
    assert.deepEqual(await readdir(join(to, "observations")), [second]);
    assert.deepEqual(await notes(retention.folder), []);
  });

  const notes = async (path: string) =>
    (await readdir(path)).filter((name) => name.startsWith("leaving"));

  it("asks again of what is still whole, and of nothing at another destination", async () => {
    const { to, first, second, destination, retention } = await twoExports();
    const place = join(to, "observations");
    const refuses: Destination = {
      ...destination,
      async remove() {
        throw new Error("refused");
      },
    };
    await removeOutdated({ ...retention, destination: refuses });
    assert.equal((await notes(retention.folder)).length, 1);
    await removeOutdated({ ...retention, keep: { runs: 9 } });
    assert.deepEqual((await readdir(place)).toSorted(), [first, second]);
    await removeOutdated({ ...retention, destination: refuses });
    const copy = folder.next();
    await cp(to, copy, { recursive: true });
    await rm(join(copy, "observations", first, "manifest.json"));
    const elsewhere = await openDestination(copy, { timeoutMillis: 1000 });
    await removeOutdated({ ...retention, keep: { runs: 9 }, destination: elsewhere });
    assert.deepEqual((await readdir(join(copy, "observations"))).toSorted(), [first, second]);
  });

  it("removes the others where one export cannot be removed, and says which", async () => {
    const { dir, to, first, second, destination, warnings, retention } = await twoExports();
    const third = await run(keeping(dir, to, {}), { env: testEnv });
    const stuck: Destination = {
      ...destination,
      async remove(name, signal) {
        if (name.includes(first)) throw new Error("refused");
        await destination.remove!(name, signal);
      },
    };
    await removeOutdated({ ...retention, current: third.runId, destination: stuck });
    const left = (await readdir(join(to, "observations"))).toSorted();
    assert.deepEqual(left, [first, third.runId]);
    assert.ok(warnings.join().includes(first) && !warnings.join().includes(second));
  });

  it("does not wait for ever for a store that hangs, and writes down what is left", async () => {
    const { to, first, second, destination, warnings, retention } = await twoExports();
    const hangs: Destination = {
      ...destination,
      remove: (_name, signal) =>
        new Promise((_, reject) =>
          signal.addEventListener("abort", () => reject(new Error("deadline"))),
        ),
    };
    await removeOutdated({ ...retention, destination: hangs }, 200);
    assert.match(warnings.join(), new RegExp(`could not remove ${first}`));
    assert.equal((await notes(retention.folder)).length, 1);
    await removeOutdated(retention);
    assert.deepEqual(await readdir(join(to, "observations")), [second]);
  });

  it("leaves what is no export's in an old export's folder, and says so", async () => {
    const { to, first, warnings, retention } = await twoExports();
    const place = join(to, "observations", first);
    await mkdir(join(place, "sub"));
    await writeFile(join(place, "README.txt"), "somebody's");
    await writeFile(join(place, "sub", "manifest.json"), "somebody's");
    await removeOutdated(retention);
    assert.deepEqual((await readdir(place)).toSorted(), ["README.txt", "sub"]);
    assert.match(warnings.join(), /2 files .* stay/);
    assert.deepEqual(await notes(retention.folder), []);
  });
});
