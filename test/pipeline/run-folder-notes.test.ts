import assert from "node:assert/strict";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openRunFolder, type RunFolderInit } from "../../src/pipeline/run-folder.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { folderInit, lastCommit } from "../fixtures/run-folder.ts";

describe("what a run's folder carries on", () => {
  const scratch = useFolder();
  const open = (dir: string, more: Partial<RunFolderInit>) => openRunFolder(folderInit(dir, more));
  const visit = async (dir: string) => {
    const opened = await open(dir, { carries: true });
    opened.release();
    return opened;
  };

  it("says what may be done where a slot's note or what is carried is damaged", async () => {
    const dir = scratch.next();
    const init = { slot: "2026-03-01T02:30:00.000Z", carries: true };
    const opened = await open(dir, init);
    await writeFile(join(opened.path, "note"), "sealed");
    await opened.commit(lastCommit(opened.record.runId));
    opened.release();
    const names = await readdir(opened.path);
    const carried = names.find((name) => name.startsWith("carried-"))!;
    const later = { slot: "2026-03-02T02:30:00.000Z", carries: true };
    for (const [name, remedy] of [
      ["slot.json", /its slot is exported for again/],
      [carried, /the next export holds all rows/],
    ] as const) {
      const whole = await readFile(join(opened.path, name));
      await writeFile(join(opened.path, name), "{ half");
      const damage = { code: "integrity-failed", message: remedy };
      await assert.rejects(open(dir, later), damage);
      await writeFile(join(opened.path, name), whole);
    }
  });

  it("carries on for a run whose record does not say whether it does", async () => {
    const dir = scratch.next();
    const { path } = await visit(dir);
    const record = JSON.parse(await readFile(join(path, "run.json"), "utf8")) as object;
    const before = { ...record, carries: undefined, digest: undefined };
    await writeFile(join(path, "run.json"), JSON.stringify(before));
    await writeFile(join(path, "note"), "sealed");
    const opened = await open(dir, { carries: true });
    await opened.commit(lastCommit(opened.record.runId));
    opened.release();
    assert.equal((await visit(dir)).carried?.text, "sealed");
  });
});
