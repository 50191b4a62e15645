import assert from "node:assert/strict";
import { chmod, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openRunFolder, type RunFolderInit } from "../../src/pipeline/run-folder.ts";
import { realWorld, type Disk } from "../../src/stages/world.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { folderInit, lastCommit } from "../fixtures/run-folder.ts";

describe("run-folder", () => {
  const folder = useFolder();
  /** Opens and gives the lock back at once, as a process that ends does. */
  async function visit(dir: string, more: Partial<RunFolderInit> = {}) {
    const opened = await openRunFolder(folderInit(dir, more));
    opened.release();
    return opened;
  }

  it("begins a run whose id sorts by time, with a key of its own", async () => {
    const [a, b] = [await visit(folder.next()), await visit(folder.next())];
    assert.match(a.record.runId, /^\d{8}T\d{9}Z-[0-9a-f]{8}$/);
    assert.match(a.record.key, /^[0-9a-f]{64}$/);
    assert.notEqual(a.record.key, b.record.key);
    assert.deepEqual(
      [a.resumed, a.committed, a.last, a.record.attempts],
      [false, false, undefined, 1],
    );
  });

  it("takes the same run up until it is committed, counting attempts", async () => {
    const dir = folder.next();
    const first = await visit(dir);
    const second = await visit(dir);
    assert.deepEqual(
      [second.resumed, second.record.runId, second.record.key, second.record.attempts],
      [true, first.record.runId, first.record.key, 2],
    );
    const third = await openRunFolder(folderInit(dir));
    await third.commit(lastCommit(third.record.runId));
    third.release();
    const fresh = await visit(dir);
    assert.equal(fresh.resumed, false);
    assert.notEqual(fresh.record.runId, first.record.runId);
    assert.deepEqual(fresh.last, lastCommit(first.record.runId));
  });

  it("removes what the run left, and what it knows of no run it keeps", async () => {
    const dir = folder.next();
    const opened = await openRunFolder(folderInit(dir));
    await mkdir(join(opened.path, "pages"));
    await writeFile(join(opened.path, "pages", "x"), "");
    await writeFile(join(opened.path, "acks.ndjson"), "");
    await writeFile(join(opened.path, "mine.txt"), "");
    await opened.commit(lastCommit(opened.record.runId));
    opened.release();
    const [memory, ...others] = (await readdir(opened.path)).toSorted();
    assert.match(memory!, /^last-[0-9a-f]{16}\.json$/);
    assert.deepEqual(others, ["lock.db", "mine.txt"]);
  });

  it("clears what is there without a run to belong to", async () => {
    const dir = folder.next();
    const { path } = await visit(dir, {});
    await writeFile(join(path, "acks.ndjson"), "stale");
    await visit(dir, { restart: true });
    assert.ok(!(await readdir(path)).includes("acks.ndjson"));
  });

  it("knows a run that was committed and not tidied up", async () => {
    const dir = folder.next();
    const first = await visit(dir);
    await first.commit(lastCommit(first.record.runId));
    await first.save(first.record);
    assert.equal((await visit(dir)).committed, true);
  });

  it("refuses a run of other stages, another destination or another version, and keeps it", async () => {
    const dir = folder.next();
    const { path, record, save } = await visit(dir);
    await mkdir(join(path, "pages"), { recursive: true });
    await writeFile(join(path, "pages", "00000000.ndjson"), "");
    const refused = (more: Partial<RunFolderInit>, message: RegExp) =>
      assert.rejects(openRunFolder(folderInit(dir, more)), {
        code: "config-changed",
        exitCode: 2,
        message,
      });
    await refused({ meaning: "other" }, /stages.*have changed.*--restart/);
    await refused({ destination: "file:///elsewhere" }, /destination have changed.*--restart/);
    await save({ ...record, version: 1 as 2 });
    await refused({}, /another version/);
    await save(record);
    assert.equal((await visit(dir)).record.runId, record.runId, "the lock was given back too");
    assert.equal((await visit(dir, { meaning: "other", restart: true })).resumed, false);
  });

  it("counts and remembers each destination apart", async () => {
    const dir = folder.next();
    const opened = await openRunFolder(folderInit(dir));
    await opened.commit(lastCommit(opened.record.runId));
    opened.release();
    assert.equal((await visit(dir, { destination: "file:///elsewhere" })).last, undefined);
    assert.notEqual((await visit(dir, { restart: true })).last, undefined);
  });

  it("names runs so that a later one sorts later, even when the clock goes back", async () => {
    const dir = folder.next();
    const opened = await openRunFolder(folderInit(dir));
    const future = "29991231T235959999Z-ffffffff";
    await opened.commit(lastCommit(future));
    opened.release();
    const next = await visit(dir);
    assert.ok(next.record.runId > future, next.record.runId);
    assert.match(next.record.runId, /^30000101T000000000Z-/);
  });

  it("lets go of an attempt that got nowhere, so that a corrected query may run", async () => {
    const dir = folder.next();
    const first = await visit(dir);
    const corrected = await visit(dir, { meaning: "corrected" });
    assert.equal(corrected.resumed, false);
    assert.notEqual(corrected.record.runId, first.record.runId);
  });

  it("discards even a record that cannot be read, when told to", async () => {
    const dir = folder.next();
    const { path } = await visit(dir);
    await writeFile(join(path, "run.json"), "");
    await assert.rejects(visit(dir), { code: "integrity-failed" });
    assert.equal((await visit(dir, { restart: true })).resumed, false);
  });

  it("does not discard a run that only its last step is missing of", async () => {
    const dir = folder.next();
    const { path, record } = await visit(dir);
    await writeFile(join(path, "manifest.json"), "{}");
    await assert.rejects(openRunFolder(folderInit(dir, { restart: true })), {
      code: "config-invalid",
      message: `run ${record.runId} is complete but for its last step; run without --restart to finish it; where that fails for good, look with \`ls\` whether the destination has it, then move manifest.json away from ${path} and run with --restart`,
    });
    assert.equal((await visit(dir)).record.runId, record.runId);
    await rm(join(path, "manifest.json"));
    const anew = await visit(dir, { restart: true });
    assert.notEqual(anew.record.runId, record.runId);
  });

  it("finishes such a run whatever the stages are by now, at its own destination alone", async () => {
    const dir = folder.next();
    const { path, record } = await visit(dir);
    await mkdir(join(path, "pages"));
    await writeFile(join(path, "pages", "00000000.ndjson"), "");
    await writeFile(join(path, "manifest.json"), "{}");
    const elsewhere = { destination: "file:///elsewhere" };
    const slot = "2026-03-01T02:30:00.000Z";
    for (const more of [{}, { restart: true }, { slot, restart: true }])
      await assert.rejects(visit(dir, { ...elsewhere, ...more }), {
        code: "config-changed",
        message: /at another destination; restore `upload\.to`/,
      });
    const warnings: string[] = [];
    const warn = (text: string) => void warnings.push(text);
    for (const more of [{}, { slot }, { slot, restart: true }]) {
      const { resumed, record: found } = await visit(dir, { meaning: "other", warn, ...more });
      assert.deepEqual([resumed, found.runId], [true, record.runId]);
    }
    assert.match(warnings.join(), /finished as it was/);
  });

  it("does not discard such a run either where its record is damaged", async () => {
    const dir = folder.next();
    const { path } = await visit(dir);
    await writeFile(join(path, "manifest.json"), "{}");
    await writeFile(join(path, "run.json"), "{ half");
    const refusal = { code: "integrity-failed", message: /move manifest\.json away/ };
    await assert.rejects(visit(dir, { restart: true }), refusal);
    assert.ok((await readdir(path)).includes("manifest.json"));
  });

  it("is opened by one at a time", async () => {
    const dir = folder.next();
    const opened = await openRunFolder(folderInit(dir));
    await assert.rejects(openRunFolder(folderInit(dir)), { code: "already-running", exitCode: 7 });
    await visit(dir, { pipeline: "another" });
    opened.release();
    await visit(dir);
  });

  describe("for a slot of a schedule", () => {
    const [early, late] = ["2026-03-01T02:30:00.000Z", "2026-03-02T02:30:00.000Z"];

    it("is done once its run is committed, and so are those before it", async () => {
      const dir = folder.next();
      const opened = await openRunFolder(folderInit(dir, { slot: late }));
      await opened.commit(lastCommit(opened.record.runId));
      opened.release();
      for (const slot of [early, late]) {
        const again = await visit(dir, { slot });
        assert.deepEqual([again.done?.slot, again.committed], [late, true]);
        assert.equal(again.last?.runId, opened.record.runId);
      }
      // Nothing was begun by that.
      assert.ok(!(await readdir(opened.path)).includes("run.json"));
      assert.ok(!(await visit(dir)).committed);
    });

    it("is run for where a clock that was wrong once left a slot that has not come", async () => {
      const dir = folder.next();
      const ahead = new Date(Date.now() + 9 * 86_400_000).toISOString();
      const opened = await openRunFolder(folderInit(dir, { slot: ahead }));
      await opened.commit(lastCommit(opened.record.runId));
      opened.release();
      const warnings: string[] = [];
      const warn = (text: string) => void warnings.push(text);
      const again = await openRunFolder(folderInit(dir, { slot: late, warn }));
      assert.deepEqual([again.done, again.committed], [undefined, false]);
      assert.match(warnings.join(), /has not come yet: a clock was wrong/);
      await again.commit(lastCommit(again.record.runId));
      again.release();
      assert.equal((await visit(dir, { slot: late })).done?.slot, late);
    });

    it("belongs to the run that was begun for it, whoever takes that up", async () => {
      const dir = folder.next();
      await visit(dir, { slot: early });
      const taken = await visit(dir, { slot: late });
      assert.deepEqual([taken.resumed, taken.record.slot, taken.done], [true, early, undefined]);
    });

    it("discards for a fresh start what got nowhere, and finishes what only its last step is missing of", async () => {
      const dir = folder.next();
      const first = await visit(dir, { slot: early });
      const fresh = await visit(dir, { slot: early, restart: true });
      assert.deepEqual([fresh.resumed, fresh.record.runId === first.record.runId], [false, false]);
      await writeFile(join(fresh.path, "manifest.json"), "{}");
      const { resumed, record } = await visit(dir, { slot: late, restart: true });
      assert.deepEqual([resumed, record.runId, record.slot], [true, fresh.record.runId, early]);
    });

    it("is done, and what is carried lies there, when the commit is cut off at any write", async () => {
      for (let cut = 0; cut < 8; cut += 1) {
        const dir = folder.next();
        const init = { slot: early, carries: true };
        const opened = await visit(dir, init);
        await writeFile(join(opened.path, "note"), "sealed");
        let changes = 0;
        const fails = () => {
          if ((changes += 1) > cut) throw Object.assign(new Error("cut"), { code: "EIO" });
        };
        const disk: Disk = {
          ...realWorld.disk,
          rename: (from, to) => (fails(), realWorld.disk.rename(from, to)),
          rm: (path, options) => (fails(), realWorld.disk.rm(path, options)),
        };
        const cutOff = await openRunFolder(
          folderInit(dir, { ...init, world: { ...realWorld, disk } }),
        )
          .then(async (run) => {
            try {
              await run.commit(lastCommit(run.record.runId));
            } finally {
              run.release();
            }
          })
          .then(
            () => false,
            () => true,
          );
        const again = await openRunFolder(folderInit(dir, init));
        if (!again.done) await again.commit(lastCommit(again.record.runId));
        again.release();
        assert.ok(cutOff || cut >= 8, `${cut}`);
        assert.equal((await visit(dir, init)).done?.slot, early, `cut at ${cut}`);
        const next = await visit(dir, { slot: late, carries: true });
        assert.deepEqual(next.carried, { runId: opened.record.runId, text: "sealed" }, `${cut}`);
      }
    });
  });

  it("does not call a record damaged that the disk refuses to read", async () => {
    const dir = folder.next();
    await visit(dir);
    const readFile = async () => {
      throw Object.assign(new Error("refused"), { code: "EIO" });
    };
    const world = { ...realWorld, disk: { ...realWorld.disk, readFile } };
    await assert.rejects(openRunFolder(folderInit(dir, { world })), { code: "spool-failed" });
    assert.ok((await visit(dir)).resumed);
  });

  it("tells a record that cannot be read, and does not begin anew over it", async () => {
    const dir = folder.next();
    const { path } = await visit(dir);
    await writeFile(join(path, "run.json"), "{ half");
    await assert.rejects(openRunFolder(folderInit(dir)), { code: "integrity-failed" });
  });

  it("tells a record or a last commit that is JSON and not ours, and keeps the pages", async () => {
    const dir = folder.next();
    const { path, record } = await visit(dir);
    const page = join(path, "pages", "00000000.ndjson");
    await mkdir(join(path, "pages"));
    await writeFile(page, "sealed");
    const damaged = [null, [], 7, {}, { version: 2 }, { ...record, key: 7 }, { version: 3 }];
    for (const found of [...damaged, { ...record, runId: "../up" }]) {
      await writeFile(join(path, "run.json"), JSON.stringify(found));
      await assert.rejects(openRunFolder(folderInit(dir)), { code: "integrity-failed" });
    }
    await writeFile(join(path, "run.json"), JSON.stringify(record));
    const opened = await openRunFolder(folderInit(dir));
    await opened.commit(lastCommit(record.runId));
    opened.release();
    const name = (await readdir(path)).find((one) => one.startsWith("last-"))!;
    for (const found of [null, {}, { ...lastCommit(record.runId), generation: "1" }]) {
      await writeFile(join(path, name), JSON.stringify(found));
      await assert.rejects(openRunFolder(folderInit(dir)), { code: "integrity-failed" });
    }
  });

  it("believes nothing in a record of which one character changed", async () => {
    const dir = folder.next();
    const { path, record } = await visit(dir);
    const text = await readFile(join(path, "run.json"), "utf8");
    const another = record.runId.replace(/^2/, "3");
    await writeFile(join(path, "run.json"), text.replace(record.runId, another));
    await assert.rejects(openRunFolder(folderInit(dir)), { code: "integrity-failed" });
    await writeFile(join(path, "run.json"), text);
    assert.equal((await visit(dir)).record.runId, record.runId);
  });

  it("lets nobody but the owner in, whatever the umask", async () => {
    const umask = process.umask(0);
    try {
      const { path } = await visit(folder.next());
      for (const name of [".", ...(await readdir(path))]) {
        const { mode } = await stat(join(path, name));
        assert.equal(mode & 0o077, 0, `${name} has mode ${mode.toString(8)}`);
      }
    } finally {
      process.umask(umask);
    }
  });

  it("refuses a folder that others can open, a link and a file in its place", async () => {
    const open = folder.next();
    const { path } = await visit(open);
    await chmod(path, 0o750);
    await assert.rejects(openRunFolder(folderInit(open)), {
      code: "config-invalid",
      message: /chmod 700/,
    });
    const linked = folder.next();
    await mkdir(linked);
    await symlink(path, join(linked, "observations"));
    await assert.rejects(openRunFolder(folderInit(linked)), { code: "config-invalid" });
    const taken = folder.next();
    await mkdir(taken);
    await writeFile(join(taken, "observations"), "");
    await assert.rejects(openRunFolder(folderInit(taken)));
  });
});
