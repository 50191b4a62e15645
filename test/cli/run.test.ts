import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { takeLock } from "../../src/stages/pages/spool-lock.ts";
import { stageModule } from "../fixtures/stage-module.ts";
import { openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

const summaryKeys = (
  "runId pipeline slot state rows pages bytesIn bytesOut seconds peakRssBytes memoryBudgetBytes destination manifest " +
  "signer consistency layers opensWith rejected resumedFrom stages bottleneck traceId"
).split(" ");

const escape = "\u001b";

/** From row 4000 on it waits DELAY milliseconds a row, and gives the same rows as without it. */
const slowModule = `const delay = Number(process.env.DELAY ?? 0);
export default async (row) => {
  if (delay > 0 && row.id > 4000) await new Promise((resolve) => setTimeout(resolve, delay));
  return row;
};
`;
/** Never ends to load, which no signal can hasten. */
const stuckModule = `import { writeFileSync } from "node:fs";
writeFileSync(new URL("stuck-now", import.meta.url), "");
setInterval(() => {}, 1000);
await new Promise(() => {});
`;
/** A stage that hears no signal and never ends. */
const deafModule = stageModule(
  "deaf",
  `const { writeFileSync } = await import("node:fs");
    writeFileSync(new URL("deaf-now", import.meta.url), "");
    await new Promise(() => {});`,
);

describe("run", () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await desk.write("rows.ndjson", rowsText(6000));
    await desk.write("slow.mjs", slowModule);
    await desk.write("stuck.mjs", stuckModule);
    await desk.write("rows.yaml", pipelineText());
    for (const name of ["slow", "term", "locked"])
      await desk.write(`${name}.yaml`, pipelineText({ name, stages: ["map: ./slow.mjs"] }));
    await desk.write("stuck.yaml", pipelineText({ name: "stuck", stages: ["./stuck.mjs: {}"] }));
    await desk.write("deaf.mjs", deafModule);
    await desk.write("deaf.yaml", pipelineText({ name: "deaf", stages: ["./deaf.mjs: {}"] }));
  });
  after(() => desk.remove());

  it("loads nothing of HTTP or TLS for an export from a file to a folder", async () => {
    await desk.write(
      "loaded.cjs",
      `process.on("exit", () => require("node:fs").appendFileSync(${JSON.stringify(join(desk.folder, "loaded.txt"))}, process.moduleLoadList.join("\\n")));`,
    );
    await desk.write("light.yaml", pipelineText({ name: "light" }));
    const env = { NODE_OPTIONS: `--require ${join(desk.folder, "loaded.cjs")}` };
    const { code, stderr } = await desk.cli(["run", "light.yaml", "-q"], env);
    assert.equal(code, 0, stderr);
    const loaded = await readFile(join(desk.folder, "loaded.txt"), "utf8");
    assert.match(loaded, /NativeModule fs\n/);
    assert.doesNotMatch(loaded, /NativeModule (https?|tls|_tls_wrap|undici)\n/);
  });

  it("--json prints the summary and nothing else on standard output", async () => {
    const { code, document } = await desk.json(["run", "rows.yaml"]);
    assert.equal(code, 0);
    assert.deepEqual(Object.keys(document), summaryKeys);
    assert.equal(document.state, "committed");
    assert.equal(document.rows, 6000);
    assert.equal(document.memoryBudgetBytes, 128 * 2 ** 20);
    assert.match(document.manifest, /^file:\/\/.*\/out\/rows\/.*\/manifest\.json$/);
  });

  it("tells people rows, memory, destination and how to check and restore without us", async () => {
    const { code, stdout, stderr } = await desk.cli(["run", "rows.yaml"]);
    assert.equal(code, 0);
    assert.match(stdout, /^✔ rows: 6,000 rows committed in /);
    assert.match(stdout, /memory +[\d.]+ MiB at peak, budget 128 MiB/);
    assert.match(stdout, /sha256sum -c --quiet SHA256SUMS/);
    assert.match(stdout, /for p in \*\.ndjson\.zst; do zstd -dc "\$p"; done > rows\.ndjson/);
    assert.ok(!(stdout + stderr).includes(escape));
  });

  it("is told as committed also where only the environment says how large it may be", async () => {
    const text = pipelineText({ name: "sized", memory: "${env:SIZED_MEMORY}" });
    await desk.write("sized.yaml", text.replace("4KiB", "16MiB"));
    const { code, stdout, stderr } = await desk.cli(["run", "sized.yaml"], {
      SIZED_MEMORY: "512MiB",
    });
    assert.deepEqual({ code, stderr: stderr.includes("spillway:") }, { code: 0, stderr: false });
    assert.match(stdout, /zstd -dc/);
  });

  it("--quiet prints nothing when all is well", async () => {
    const { code, stdout, stderr } = await desk.cli(["run", "rows.yaml", "--quiet"]);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "", stderr: "" });
  });

  it("paints when told to, and never against NO_COLOR", async () => {
    const forced = await desk.cli(["plan", "rows.yaml"], { FORCE_COLOR: "1" });
    assert.ok(forced.stdout.includes(`${escape}[`));
    const plain = await desk.cli(["plan", "rows.yaml"], { NO_COLOR: "1", TERM: "xterm-256color" });
    assert.ok(!plain.stdout.includes(escape));
  });

  it("is stopped by SIGINT with 75, and the same command goes on to 0", async () => {
    const started = desk.start(["run", "slow.yaml", "--json"], { DELAY: "10" });
    await desk.until("out/slow");
    started.child.kill("SIGINT");
    const stopped = await started.ended;
    assert.equal(stopped.code, 75);
    const { error, state } = JSON.parse(stopped.stdout);
    assert.equal(state, "stopped");
    assert.equal(error.code, "stopped");
    assert.equal(error.exitCode, 75);
    assert.equal(error.remedy, "try-again");
    assert.match(stopped.stderr, /run the same command to go on/);

    const { code, document } = await desk.json(["run", "slow.yaml"]);
    assert.equal(code, 0);
    assert.equal(document.resumedFrom, document.runId);
    assert.equal(document.rows, 6000);
    const restored = await desk.cli(["cat", "out/slow"]);
    assert.equal(restored.stdout, rowsText(6000));
  });

  it("is stopped by SIGTERM too, and --restart begins a new run", async () => {
    const started = desk.start(["run", "term.yaml"], { DELAY: "10" });
    await desk.until("spool/term/run.json");
    started.child.kill("SIGTERM");
    assert.equal((await started.ended).code, 75);
    const { code, document } = await desk.json(["run", "term.yaml", "--restart"]);
    assert.equal(code, 0);
    assert.equal(document.resumedFrom, null);
  });

  it("is stopped with 75 though a module of the user's is never loaded", async () => {
    const started = desk.start(["run", "stuck.yaml"]);
    await desk.until("stuck-now");
    started.child.kill("SIGTERM");
    assert.equal((await started.ended).code, 75);
  });

  it("is stopped with 75 though a stage hears nothing, and gives the lock back", async () => {
    const started = desk.start(["run", "deaf.yaml"]);
    await desk.until("deaf-now");
    started.child.kill("SIGTERM");
    assert.equal((await started.ended).code, 75);
    takeLock(join(desk.folder, "spool", "deaf", "lock.db"), "deaf").release();
  });

  it("takes an echoed signal as one, and a second one ends it at once with 130", async () => {
    await rm(join(desk.folder, "deaf-now"));
    const started = desk.start(["run", "deaf.yaml"]);
    await desk.until("deaf-now");
    started.child.kill("SIGINT");
    started.child.kill("SIGINT");
    await sleep(400);
    assert.equal(started.child.exitCode, null);
    assert.match(started.stderr(), /stopping; once more ends it at once/);
    started.child.kill("SIGINT");
    assert.equal((await started.ended).code, 130);
  });

  it("does not run twice at a time: the second ends with 7", async () => {
    const first = desk.start(["run", "locked.yaml"], { DELAY: "10" });
    await desk.until("spool/locked/run.json");
    const { code, document } = await desk.json(["run", "locked.yaml"]);
    assert.equal(code, 7);
    assert.equal(document.error.code, "already-running");
    assert.equal(document.state, "failed");
    first.child.kill("SIGTERM");
    assert.equal((await first.ended).code, 75);
  });

  it("a config that changed since the run was stopped is refused with 2", async () => {
    await desk.write(
      "changed.yaml",
      pipelineText({ name: "locked", stages: ["map: ./slow.mjs"] }).replace("4KiB", "8KiB"),
    );
    const { code, stderr } = await desk.cli(["run", "changed.yaml"]);
    assert.equal(code, 2);
    assert.match(stderr, /--restart/);
  });

  it("bad rows end it with 4, at their line and without their content", async () => {
    await desk.write("broken.ndjson", '{"id":1}\n{"secret": "Jane Doe"\n');
    await desk.write(
      "broken.yaml",
      pipelineText({ name: "broken" }).replace("rows.ndjson", "broken.ndjson"),
    );
    const { code, stdout, stderr, document } = await desk.json(["run", "broken.yaml", "--debug"]);
    assert.equal(code, 4);
    assert.match(stderr, /broken\.ndjson:2/);
    assert.equal(document.error.code, "source-bad-data");
    assert.equal(document.state, "failed");
    assert.doesNotMatch(stdout + stderr, /Jane/);
  });

  it("a defect of somebody's timer is told without its message, which may quote a row", async () => {
    await desk.write(
      "defect.mjs",
      `export default (row) => {
        setTimeout(() => { throw new Error("Jane Doe"); });
        return new Promise(() => {});
      };`,
    );
    await desk.write(
      "defect.yaml",
      pipelineText({ name: "defect", stages: ["map: ./defect.mjs"] }),
    );
    const { code, document, stdout, stderr } = await desk.json(["run", "defect.yaml", "--debug"]);
    assert.equal(code, 1);
    assert.equal(document.error.code, "internal");
    assert.match(stderr, /unexpected Error.*\n[^]*\n\s+at /);
    assert.doesNotMatch(stdout + stderr, /Jane/);
  });

  it("ten thousand defects at once are told as one", async () => {
    await desk.write(
      "flood.mjs",
      `export default (row) => {
        for (let n = 0; n < 5e3; n += 1) {
          setImmediate(() => { throw new Error("Jane Doe"); });
          Promise.reject(new Error("Jane Doe"));
        }
        return new Promise(() => {});
      };`,
    );
    await desk.write("flood.yaml", pipelineText({ name: "flood", stages: ["map: ./flood.mjs"] }));
    const { code, stderr } = await desk.cli(["run", "flood.yaml", "-q"]);
    assert.equal(code, 1);
    assert.equal(
      stderr,
      "spillway: an unexpected Error ended the command; run with --debug for its stack\n",
    );
  });

  it("a destination that cannot be written ends it with 5", async () => {
    await desk.write("taken", "a file, not a folder");
    await desk.write(
      "taken.yaml",
      pipelineText({ name: "taken" }).replace("upload: ./out", "upload: ./taken"),
    );
    const { code, stderr } = await desk.cli(["run", "taken.yaml"]);
    assert.equal(code, 5);
    assert.match(stderr, /^spillway: /);
  });
});
