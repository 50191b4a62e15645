import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parsePipeline } from "../../../../src/pipeline/load.ts";
import { run } from "../../../../src/pipeline/run.ts";
import { readExport } from "../../../../src/readback/read-export.ts";
import { createBulk } from "../../../servers/fhir-bulk.ts";
import { makeObservations, startFhir, type Interceptor } from "../../../servers/fhir.ts";

const resources = makeObservations(3000);
const observations = resources.filter(({ type }) => type === "Observation");

describe("an export from FHIR that is taken up", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-fhir-"));
    process.env["XDG_STATE_HOME"] = folder;
  });
  afterEach(async () => {
    delete process.env["XDG_STATE_HOME"];
    await rm(folder, { recursive: true });
  });

  const pipelineOf = (source: string) =>
    parsePipeline(
      `name: fhir\nmemory: 128MiB\nstages:\n  - ${source}\n  - serialize: ndjson\n  - chunk: 16KiB\n  - compress: none\n  - encrypt: none\n  - spool: ./spool\n  - upload: ./out\n`,
      join(folder, "fhir.yaml"),
    );
  const readBack = () => Array.fromAsync(readExport(join(folder, "out", "fhir")));

  /** Runs until `reached` says so, as a crash would leave it, then to the end. */
  async function stopAndRun(source: string, stopped: Promise<unknown>): Promise<void> {
    const stop = new AbortController();
    const first = run(pipelineOf(source), { signal: stop.signal });
    await Promise.race([stopped, first]);
    stop.abort();
    await assert.rejects(first, { code: "stopped" });
    assert.ok((await readdir(join(folder, "spool", "fhir"))).length > 0);
    const summary = await run(pipelineOf(source));
    assert.equal(summary.rows, 3000);
    assert.notEqual(summary.resumedFrom, null);
  }

  /** Lets the first request that fits hang. */
  function hangOnce(fits: (href: string) => boolean) {
    const reached = Promise.withResolvers<void>();
    let hung = false;
    const intercept: Interceptor = ({ url }) => {
      if (hung || !fits(url.href)) return false;
      hung = true;
      reached.resolve();
      return true;
    };
    return { intercept, reached: reached.promise };
  }

  it("searches anew, and what is durable is compared and not stored again", async () => {
    const { intercept, reached } = hangOnce((href) => href.includes("offset=2000"));
    const server = await startFhir({ resources, intercept });
    try {
      await stopAndRun(`fhir: { url: "${server.base}", search: Observation }`, reached);
      const rows = await readBack();
      assert.deepEqual(
        rows.map((row) => (row as { id: string }).id),
        observations.map(({ id }) => id),
      );
    } finally {
      await server.close();
    }
  });

  it("takes up the same bulk export, and has it removed at the end", async () => {
    const { intercept, reached } = hangOnce((href) => href.includes("output-1"));
    const lines = observations.map(({ text }) => text);
    const output = [
      { type: "Observation", lines: lines.slice(0, 2000) },
      { type: "Observation", lines: lines.slice(2000) },
    ];
    const bulk = createBulk({ output });
    const server = await startFhir({ resources: [] }, [intercept, bulk.intercept]);
    try {
      await stopAndRun(
        `fhir-bulk: { url: "${server.base}", export: system, parallel: 1 }`,
        reached,
      );
      assert.equal(bulk.kickOffs.length, 1);
      assert.deepEqual(bulk.removed, ["/status/1"]);
      assert.equal((await readBack()).length, 3000);
      assert.ok(!(await readdir(join(folder, "spool", "fhir"))).includes("note"));
    } finally {
      await server.close();
    }
  });

  it("stops where the server gives other data than before, and says what can be done", async () => {
    const { intercept, reached } = hangOnce((href) => href.includes("offset=2000"));
    const live = [...resources];
    const server = await startFhir({ resources: live, intercept });
    const other = await startFhir({ resources: makeObservations(3000, 4) });
    try {
      const source = (base: string) => `fhir: { url: "${base}", search: Observation }`;
      const stop = new AbortController();
      const first = run(pipelineOf(source(server.base)), { signal: stop.signal });
      await reached;
      stop.abort();
      await assert.rejects(first, { code: "stopped" });
      live[20] = { ...live[20]!, text: live[20]!.text.replace(".00", ".01") };
      await assert.rejects(run(pipelineOf(source(server.base))), {
        code: "source-changed",
        message: /other rows than in the first attempt .* --restart/,
      });
      await assert.rejects(run(pipelineOf(source(other.base))), { code: "config-changed" });
    } finally {
      await server.close();
      await other.close();
    }
  });
});
