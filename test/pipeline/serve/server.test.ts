/** A server in this process: files and folders are real, runs are the test's. */
import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PipelineError } from "../../../src/errors.ts";
import { startServer, type ServerInit } from "../../../src/pipeline/serve/server.ts";
import { writeJson } from "../../../src/pipeline/run-files.ts";
import { realDisk } from "../../../src/stages/world.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { lastCommit } from "../../fixtures/run-folder.ts";
import { startOtlpReceiver } from "../../servers/otlp-receiver.ts";

const day = 86_400_000;

describe("a server", () => {
  const folder = useFolder();

  /** Files of a folder, each with a slot every day; `done` is when the last one was exported for. */
  async function make(names: readonly string[], done = Date.now() - 3 * day) {
    const dir = folder.next();
    await mkdir(dir, { recursive: true });
    for (const name of names) {
      const file = `name: ${name}
memory: 128MiB
schedule: { cron: "0 0 * * *" }
stages:
  - ndjson: rows.ndjson
  - serialize: ndjson
  - chunk: 4KiB
  - compress: zstd
  - encrypt: none
  - spool: ${join(dir, "spool")}
  - upload: ${join(dir, "out")}
`;
      await writeFile(join(dir, `${name}.yaml`), file);
      const path = join(dir, "spool", name);
      await mkdir(path, { recursive: true });
      const slot = new Date(done).toISOString();
      await writeJson({ disk: realDisk, path }, "slot.json", { slot, commit: lastCommit("r") });
    }
    return dir;
  }

  function init(dir: string, more: Partial<ServerInit> = {}) {
    const started: string[] = [];
    const broken: PipelineError[] = [];
    const given: ServerInit = {
      paths: [dir],
      env: {},
      start({ served }) {
        started.push(served.name);
        const ended = Promise.withResolvers<never>();
        const stop = () => ended.resolve({ exitCode: 75, code: "stopped" } as never);
        return { ended: ended.promise, stop };
      },
      listen: async () => {},
      log() {},
      onBroken: (error) => broken.push(error),
      ...more,
    };
    return { given, started, broken };
  }

  it("serves the others where a pipeline's folder in the spool is damaged, and says so", async () => {
    const dir = await make(["first", "second"]);
    await writeFile(join(dir, "spool", "first", "slot.json"), "{ half");
    const { given, started, broken } = init(dir);
    const server = await startServer(given);
    try {
      const { ready, config, pipelines } = server.status;
      assert.deepEqual([ready, config, pipelines.length], [true, "current", 2]);
      assert.deepEqual(started, ["second"], "the slot that was missed");
      assert.deepEqual(
        broken.map(({ code }) => code),
        ["integrity-failed"],
      );
      assert.match(broken[0]!.message, /slot\.json is damaged .* its slot is exported for again/);
    } finally {
      await server.stop();
    }
  });

  it("runs nothing where its address is taken, by another server of the same files perhaps", async () => {
    const taken = new PipelineError("config-invalid", "--listen: taken");
    const { given, started } = init(await make(["missed"]), {
      listen: () => Promise.reject(taken),
    });
    await assert.rejects(startServer(given), taken);
    assert.deepEqual(started, []);
  });

  it("sends what became of its last runs as it stops", async () => {
    const receiver = await startOtlpReceiver();
    try {
      const env = { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${receiver.url}/v1/metrics` };
      const { given, started } = init(await make(["missed"]), { env });
      await (await startServer(given)).stop();
      assert.deepEqual(started, ["missed"]);
      const { points = [] } = receiver.metric("spillway.serve.slots") ?? {};
      const counted = points.filter(({ value }) => value > 0).map(({ attributes }) => attributes);
      const one = { "spillway.pipeline": "missed", "spillway.serve.outcome": "stopped" };
      assert.deepEqual(counted, [one]);
    } finally {
      await receiver.close();
    }
  });

  it("says what of its telemetry cannot be had", async () => {
    const lines: string[] = [];
    const { given } = init(await make(["told"]), {
      env: { OTEL_METRICS_EXPORTER: "carbon" },
      log: (line) => lines.push(line),
    });
    await (await startServer(given)).stop();
    assert.match(lines.join("\n"), /OTEL_METRICS_EXPORTER: .* has no `carbon`/);
  });

  it("is ready whatever its runs come to, and no more once it stops", async () => {
    const { given } = init(await make(["failing"]), {
      start: () => ({
        ended: Promise.resolve({
          exitCode: 4,
          code: "source-refused",
          mayHelp: false,
          runId: null,
          slot: null,
        }),
        stop() {},
      }),
    });
    const server = await startServer(given);
    await new Promise((soon) => setImmediate(soon));
    assert.equal(server.status.pipelines[0]?.last?.outcome, "failed");
    assert.ok(server.status.ready);
    await server.stop();
    assert.ok(!server.status.ready);
    assert.equal(server.status.pipelines[0]?.next, null);
  });

  it("keeps what it had where its folder cannot be read again, and runs for no slot of a file that is gone", async () => {
    const dir = await make(["kept", "gone"], Date.now());
    const { given, broken } = init(dir);
    const server = await startServer(given);
    try {
      const names = () => server.status.pipelines.map(({ name }) => name).toSorted();
      await writeFile(join(dir, "kept.yaml"), "name: [");
      await rm(join(dir, "gone.yaml"));
      await server.reload();
      assert.deepEqual([names(), server.status.config], [["kept"], "stale"]);
      await rm(dir, { recursive: true });
      await server.reload();
      assert.deepEqual([names(), server.status.config], [["kept"], "stale"]);
      await mkdir(dir);
      await server.reload();
      assert.deepEqual([names(), server.status.config], [["kept"], "stale"], "an empty one");
      assert.equal(broken.length, 3);
    } finally {
      await server.stop();
    }
  });
});
