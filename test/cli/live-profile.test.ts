import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { listenForProfile } from "../../src/cli/live-profile.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { openDesk, pipelineText, rowsText } from "./spawn-cli.ts";

/** A function that is new each time: of one that was optimized before, a profile may not know the name. */
const busy = `
  const { parentPort } = require("node:worker_threads");
  parentPort.postMessage("up");
  const text = "return function turnRound() { for (let i = 0, x = 0; i < 1e5; i += 1) x += Math.sqrt(i); }";
  let turns = 0;
  setInterval(() => new Function(text + "//" + (turns += 1))()(), 1);`;

interface Profile {
  readonly nodes: readonly { readonly callFrame: { readonly functionName: string } }[];
  readonly samples: readonly number[];
}
const read = async (path: string) => JSON.parse(await readFile(path, "utf8")) as Profile;

describe("CPU profiles", () => {
  const folder = useFolder();

  it("are written of the main thread and of each worker, at a signal", async () => {
    const worker = new Worker(busy, { eval: true });
    try {
      await once(worker, "message");
      const written = Promise.withResolvers<readonly string[]>();
      const into = folder.next();
      const failed = (reason: string) => written.reject(new Error(reason));
      const profile = listenForProfile({
        folder: into,
        written: written.resolve,
        failed,
        millis: 300,
      });
      process.kill(process.pid, "SIGUSR2");
      process.kill(process.pid, "SIGUSR2");
      const paths = await written.promise;
      await profile.dispose();
      assert.deepEqual(
        paths.map((path) => basename(path).replace(/^\d{8}T\d{6}Z/, "")),
        ["-main.cpuprofile", "-worker-1.cpuprofile"],
      );
      const ofWorker = await read(paths[1]!);
      assert(ofWorker.samples.length > 10);
      assert(ofWorker.nodes.some(({ callFrame }) => callFrame.functionName === "turnRound"));
      assert.equal((await stat(paths[0]!)).mode & 0o777, 0o600);
    } finally {
      await worker.terminate();
    }
  });

  it("that are under way at the end are written then", async () => {
    let paths: readonly string[] = [];
    const written = (all: readonly string[]) => void (paths = all);
    const failed = (reason: string) => assert.fail(reason);
    const profile = listenForProfile({ folder: folder.next(), written, failed });
    process.kill(process.pid, "SIGUSR2");
    await sleep(200);
    await profile.dispose();
    assert.equal(paths.length, 1);
    assert.equal(process.listenerCount("SIGUSR2"), 0);
  });

  it("of a whole run lie in the folder of --profile, with a table of its stages", async () => {
    const desk = await openDesk();
    try {
      await desk.write("rows.ndjson", rowsText(500));
      const name = await desk.write("rows.yaml", pipelineText());
      const { code, stdout, stderr } = await desk.cli(["run", name, "--profile", "profiles"]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /Stage +Works +Share +Waits before/);
      assert.match(stdout, /upload +[\d.]+ s +\d+ %/);
      const names = await readdir(join(desk.folder, "profiles"));
      assert(names.length >= 2, "the main thread and a worker");
      for (const one of names)
        assert((await read(join(desk.folder, "profiles", one))).nodes.length);
    } finally {
      await desk.remove();
    }
  });
});
