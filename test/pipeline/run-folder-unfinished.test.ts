import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openRunFolder, type RunFolderInit } from "../../src/pipeline/run-folder.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { folderInit, lastCommit } from "../fixtures/run-folder.ts";

describe("a run under a destination's former spelling", () => {
  const folder = useFolder();
  const after = { meaning: "spelled", destination: "file:///out", carries: true };
  const before = { meaning: "as written", destination: "file:///out/", carries: true };
  const now = { ...after, formerly: before };
  const open = (dir: string, more: Pick<RunFolderInit, "meaning" | "destination" | "formerly">) =>
    openRunFolder(folderInit(dir, more));
  const visit = async (...of: Parameters<typeof open>) => {
    const opened = await open(...of);
    opened.release();
    return opened;
  };

  it("goes on, after its last commit and with what that carried, which are kept once", async () => {
    const dir = folder.next();
    const first = await open(dir, before);
    const { path } = first;
    await writeFile(join(path, "note"), "sealed");
    await first.commit(lastCommit(first.record.runId));
    first.release();
    const unfinished = await visit(dir, before);
    await mkdir(join(path, "pages"));
    await writeFile(join(path, "pages", "00000000.ndjson"), "");
    await assert.rejects(visit(dir, after), { code: "config-changed" });
    const second = await open(dir, now);
    assert.deepEqual([second.resumed, second.record.runId], [true, unfinished.record.runId]);
    assert.deepEqual([second.last?.runId, second.carried?.text], [first.record.runId, "sealed"]);
    await writeFile(join(path, "note"), "sealed anew");
    await second.commit(lastCommit(second.record.runId));
    second.release();
    const names = (await readdir(path)).filter((name) => /^(last|carried)-/.test(name));
    assert.equal(names.length, 2, names.join());
    const third = await visit(dir, now);
    assert.deepEqual(
      [third.last?.runId, third.carried?.text],
      [second.record.runId, "sealed anew"],
    );
  });

  it("leaves nothing under the former name where it carries nothing", async () => {
    const dir = folder.next();
    const bare = { meaning: "as written", destination: "file:///out/" };
    const first = await open(dir, bare);
    await first.commit(lastCommit(first.record.runId));
    first.release();
    const second = await open(dir, { ...bare, destination: "file:///out", formerly: bare });
    assert.equal(second.last?.runId, first.record.runId);
    await second.commit(lastCommit(second.record.runId));
    second.release();
    const names = (await readdir(second.path)).filter((name) => /^(last|carried)-/.test(name));
    assert.equal(names.length, 1, names.join());
  });

  it("is finished where only its last step is missing", async () => {
    const dir = folder.next();
    const { path, record } = await visit(dir, before);
    await writeFile(join(path, "manifest.json"), "{}");
    await assert.rejects(visit(dir, after), { message: /at another destination/ });
    for (const more of [now, { ...now, meaning: "other" }])
      assert.equal((await visit(dir, more)).record.runId, record.runId);
  });
});
