/** What `doctor` says of an unfinished run is what `run` would do with it. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { examine } from "../../../src/pipeline/doctor/examine.ts";
import { loadPipeline } from "../../../src/pipeline/load.ts";
import { planPipeline } from "../../../src/pipeline/plan.ts";
import { bindingOf } from "../../../src/pipeline/resume.ts";
import { openRunFolder } from "../../../src/pipeline/run-folder.ts";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

describe("a look at the spool", () => {
  const folder = useFolder();
  const signal = new AbortController().signal;

  const write = async ({ chunk = "4KiB", to = "out" } = {}) => {
    const path = join(folder.path, "export.yaml");
    const stages = `ndjson: rows.ndjson }
  - serialize: ndjson
  - chunk: ${chunk}
  - compress: zstd
  - encrypt: none
  - spool: ${join(folder.path, "spool")}
  - upload: ${join(folder.path, to)}`;
    await writeFile(path, `name: rows\nmemory: 128MiB\nstages:\n  - { ${stages}\n`);
    return path;
  };
  const found = async (path: string) => {
    const findings = await examine(path, { env: {}, signal });
    return findings.find(({ area, check }) => area === "spool" && check === "run")!;
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
});
