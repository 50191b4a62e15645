/** What `doctor` says of a spool: of an unfinished run what `run` would do with it; of its place who else can get there. */
import assert from "node:assert/strict";
import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { examine } from "../../../src/pipeline/doctor/examine.ts";
import { loadPipeline } from "../../../src/pipeline/load.ts";
import { planPipeline } from "../../../src/pipeline/plan.ts";
import { bindingOf } from "../../../src/pipeline/resume.ts";
import { openRunFolder } from "../../../src/pipeline/run-folder.ts";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { mountSmallDisk } from "../../fixtures/small-disk.ts";

describe("a look at the spool", () => {
  const folder = useFolder();
  const signal = new AbortController().signal;

  const write = async ({ chunk = "4KiB", to = "out", spool = "spool" } = {}) => {
    const path = join(folder.path, "export.yaml");
    const stages = `ndjson: rows.ndjson }
  - serialize: ndjson
  - chunk: ${chunk}
  - compress: zstd
  - encrypt: none
  - spool: ${join(folder.path, spool)}
  - upload: ${join(folder.path, to)}`;
    await writeFile(path, `name: rows\nmemory: 128MiB\nstages:\n  - { ${stages}\n`);
    return path;
  };
  const found = async (path: string, wanted = "run") => {
    const findings = await examine(path, { env: {}, signal });
    return findings.find(({ area, check }) => area === "spool" && check === wanted)!;
  };

  it("says whether a run goes on, begins anew, is finished, or is refused", async () => {
    const path = await write();
    const plan = await planPipeline(await loadPipeline(path), { resolve: "full", env: {} });
    const destination = await openDestination(plan.upload.to, { timeoutMillis: 1000 });
    const run = await openRunFolder({ ...bindingOf(plan, destination), restart: false });
    run.release();
    assert.match((await found(path)).found, /is unfinished; `run` goes on/);
    const changed = { chunk: "8KiB" };
    assert.match((await found(await write(changed))).found, /holds nothing; `run` begins anew/);
    await mkdir(join(run.path, "pages"));
    await writeFile(join(run.path, "pages", "00000000.ndjson.zst"), "sealed");
    assert.equal((await found(await write(changed))).code, "config-changed");
    await writeFile(join(run.path, "manifest.json"), "{}");
    const whole = await found(await write(changed));
    assert.deepEqual([whole.level, whole.code], ["ok", undefined]);
    assert.match(whole.found, /complete but for its last step; `run` finishes it as it was/);
    const elsewhere = await found(await write({ to: "elsewhere" }));
    assert.equal(elsewhere.code, "config-changed");
    assert.match(elsewhere.found, /complete but for its last step, at another destination/);
  });

  it("says who else can open it, or put another in its place", async () => {
    const spool = join(folder.path, "shared");
    const path = await write({ spool: "shared" });
    await mkdir(spool);
    await chmod(spool, 0o777);
    const around = await found(path, "rights");
    assert.equal(around.level, "warn");
    assert.match(around.found, /the folder around the spool can be written to by others/);
    await chmod(spool, 0o1777);
    assert.equal((await found(path, "rights")).level, "ok");
    await mkdir(join(spool, "rows"));
    await chmod(join(spool, "rows"), 0o755);
    const open = await found(path, "rights");
    assert.equal(open.code, "config-invalid");
    assert.match(open.found, /is open to others or no folder$/);
  });

  it("says when pages have no room there, and when it cannot be looked at", async function () {
    const disk = join(folder.path, "small");
    const unmount = await mountSmallDisk(this, disk);
    try {
      const room = await found(await write({ spool: "small", chunk: "64KiB" }), "room");
      assert.equal(room.code, "disk-full");
      assert.match(room.found, /are free, not even 8 pages$/);
    } finally {
      unmount();
    }
    await symlink("round", join(folder.path, "round"));
    const findings = await examine(await write({ spool: "round" }), { env: {}, signal });
    const failed = findings.find(({ area, level }) => area === "spool" && level === "fail");
    assert.equal(failed?.code, "spool-failed");
    assert.match(failed.found, /cannot be looked at \(ELOOP\)/);
  });
});
