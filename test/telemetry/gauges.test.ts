import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import * as otel from "@opentelemetry/api";
import { registerGauges } from "../../src/telemetry/gauges.ts";
import { registerServeGauges } from "../../src/telemetry/serve-gauges.ts";
import { registry } from "../../src/stages/registry.ts";
import { attributes, clientStages, metrics, spans } from "../../src/telemetry/names.ts";
import { telemetryReference } from "../../src/telemetry/reference.ts";
import { startTelemetry, type TelemetryOptions } from "../../src/telemetry/sdk.ts";
import { watchRun } from "../../src/telemetry/watch.ts";
import { startOtlpReceiver, type OtlpReceiver } from "../servers/otlp-receiver.ts";
import { freePort } from "../servers/free-port.ts";
import { idleSources } from "./idle-sources.ts";
import { runSynthetic } from "./synthetic-run.ts";

const caches = [
  { name: "lookup", hits: 7, loads: 2, loadFailures: 3, loadMillis: 500, evictions: 1, bytes: 99 },
  { name: "lookup", hits: 5, loads: 1, loadFailures: 0, loadMillis: 10, evictions: 0, bytes: 10 },
];

/** What no stage of the synthetic run is: two of one name. */
const filters = [8, 6].map((rows) => ({
  name: "filter",
  rows,
  bytes: 10 * rows,
  busySeconds: 0,
  starvedSeconds: 0,
  blockedSeconds: 0,
  peakHeldBytes: 0,
}));

interface Ask {
  readonly otlp?: string;
  readonly sdk?: "light" | "node";
  readonly prometheus?: string;
}

/** A run with all its gauges; `read` looks at it before the end. */
async function gauged(
  ask: Ask,
  read: () => Promise<void> = async () => {},
  fail?: Error,
  options: TelemetryOptions = {},
) {
  const telemetry = await startTelemetry(ask, {}, options);
  const watch = watchRun({ telemetry, pipeline: "p", runId: "r" });
  const stats = () => [...watch.stats(), ...filters];
  const remove = registerGauges(telemetry.meter, { ...idleSources, caches, ...watch, stats });
  const served = [{ pipeline: "p", running: true, slots: { skipped: 2 } }];
  const removeServe = registerServeGauges(telemetry.meter, () => served);
  const error = await runSynthetic(watch, {
    pages: 2,
    ...(fail && { failAt: { page: 1, error: fail } }),
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  await read();
  watch.end(error);
  await telemetry.shutdown(2000);
  remove();
  removeServe();
}

for (const sdk of ["light", "node"] as const) {
  describe(`metrics with sdk: ${sdk}`, () => {
    let receiver: OtlpReceiver;
    before(async () => {
      receiver = await startOtlpReceiver();
      await gauged({ otlp: receiver.url, sdk });
    });
    after(() => receiver.close());

    const value = (name: string, attributes: Record<string, unknown> = {}) => {
      const points = receiver.metric(name)?.points ?? [];
      const wanted = Object.entries(attributes);
      return points.find((point) => wanted.every(([key, is]) => point.attributes[key] === is))
        ?.value;
    };

    it("arrive with the unit, the kind and the sentence of their name", () => {
      for (const { name, unit, instrument, sentence } of Object.values(metrics)) {
        const received = receiver.metric(name);
        assert.ok(received, name);
        assert.deepEqual(
          [received.unit, received.kind, received.description],
          [unit, instrument, sentence],
        );
      }
    });

    it("count the run: rows, pages, bytes", () => {
      assert.equal(value("spillway.run.rows"), 20);
      assert.equal(value("spillway.run.pages"), 2);
      assert.equal(value("spillway.run.pages.uploaded"), 2);
      assert.equal(value("spillway.run.serialized"), 2000);
      assert.equal(value("spillway.run.sealed"), 1000);
    });

    it("say whose run they are of; those of the process do not", () => {
      const named = { "spillway.pipeline": "p" };
      for (const [name, mine] of Object.entries({
        "spillway.run.rows": 20,
        "spillway.lease.in_use": 16,
        "spillway.memory.budget": 96 * 2 ** 20,
        "spillway.cache.hits": 7,
      }))
        assert.equal(value(name, named), mine, name);
      assert.equal(value("process.memory.usage", named), undefined);
      assert.equal(value("nodejs.eventloop.delay.p99", named), undefined);
    });

    it("are told apart from those of a process beside this one", async () => {
      const instances = () =>
        new Set(receiver.metrics.map(({ resource }) => resource["service.instance.id"]));
      const [own, ...others] = instances();
      assert.match(String(own), /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
      assert.deepEqual(others, []);
      await gauged({ otlp: receiver.url, sdk });
      assert.equal(instances().size, 2);
    });

    it("count every stage and where its time went", () => {
      const seal = { "spillway.stage.name": "seal" };
      assert.equal(value("spillway.stage.rows", seal), 20);
      assert.equal(value("spillway.stage.bytes", seal), 1000);
      assert.equal(value("spillway.stage.held.peak", seal), 1000);
      const busy = value("spillway.stage.time", { ...seal, "spillway.stage.state": "busy" });
      assert.ok(busy !== undefined && busy > 0.004, `${busy}`);
      for (const state of ["starved", "blocked"]) {
        const time = value("spillway.stage.time", { ...seal, "spillway.stage.state": state });
        assert.ok(time !== undefined && time >= 0, state);
      }
    });

    it("tell stages of one name apart", () => {
      for (const [name, rows] of Object.entries({ filter: 8, "filter 2": 6 }))
        assert.equal(value("spillway.stage.rows", { "spillway.stage.name": name }), rows, name);
      assert.equal(value("spillway.cache.hits", { "spillway.cache.name": "lookup 2" }), 5);
    });

    it("show the room there is: lease, spool, workers", () => {
      assert.equal(value("spillway.lease.in_use"), 16);
      assert.equal(value("spillway.lease.waiting"), 1);
      assert.equal(value("spillway.spool.used"), 512);
      assert.equal(value("spillway.spool.flushes"), 3);
      assert.equal(value("spillway.spool.flushed"), 300);
      assert.equal(value("spillway.spool.flush.time"), 1.5);
      assert.equal(value("spillway.workers.in_flight"), 1);
    });

    it("show the memory of the process against its budget", () => {
      const rss = value("process.memory.usage") ?? 0;
      const peak = value("spillway.memory.peak") ?? 0;
      assert.ok(rss > 2 ** 24 && peak >= rss, `${rss} ${peak}`);
      assert.equal(value("spillway.memory.budget"), 96 * 2 ** 20);
      assert.ok((value("v8js.memory.heap.used", { "v8js.heap.space.name": "old_space" }) ?? 0) > 0);
      assert.ok((value("spillway.memory.external") ?? 0) > 0);
      assert.ok((value("nodejs.eventloop.delay.p99") ?? 0) > 0);
    });

    it("show the pressure on memory and each of its steps", () => {
      assert.equal(value("spillway.memory.threshold"), 48 * 2 ** 20);
      assert.equal(value("spillway.memory.step"), 2);
      assert.equal(value("spillway.memory.share"), 0.5);
      assert.equal(value("spillway.memory.collections"), 5);
      const reached = [1, 2, 3, 4].map((step) =>
        value("spillway.memory.steps", { "spillway.memory.step": step }),
      );
      assert.deepEqual(reached, [3, 2, 0, 0]);
    });

    it("show what caches do, by stage", () => {
      const named = { "spillway.cache.name": "lookup" };
      assert.equal(value("spillway.cache.hits", named), 7);
      assert.equal(value("spillway.cache.loads", named), 2);
      assert.equal(value("spillway.cache.load.failures", named), 3);
      assert.equal(value("spillway.cache.load.time", named), 0.5);
      assert.equal(value("spillway.cache.evictions", named), 1);
      assert.equal(value("spillway.cache.bytes", named), 99);
    });
  });

  it(`Prometheus scrapes the same metrics from sdk: ${sdk}`, async () => {
    const port = await freePort();
    let text = "";
    const log = { warn: assert.fail };
    const read = async () => {
      const response = await fetch(`http://127.0.0.1:${port}/metrics`, {
        headers: { connection: "close" },
      });
      text = await response.text();
    };
    await gauged({ sdk, prometheus: `127.0.0.1:${port}` }, read, undefined, { log });
    assert.match(text, /^spillway_run_rows(_total)?\{.*\} 20$/m);
    assert.match(text, /^spillway_lease_in_use\{.*\} 16$/m);
    for (const { name } of Object.values(metrics)) {
      assert.ok(text.includes(name.replaceAll(".", "_")), name);
    }
    await assert.rejects(fetch(`http://127.0.0.1:${port}/metrics`), "closed with the run");
  });
}

describe("a Prometheus port that is taken", () => {
  it("is a warning, not the end of the run", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    assert.ok(typeof address === "object" && address !== null);
    const warnings: string[] = [];
    const log = { warn: (message: string) => void warnings.push(message) };
    try {
      await gauged({ prometheus: `127.0.0.1:${address.port}` }, undefined, undefined, { log });
    } finally {
      taken.close();
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /cannot listen on port/);
  });
});

it("an application's own SDK reads a run's metrics once more at its end, however short it was", async () => {
  const {
    AggregationTemporality,
    InMemoryMetricExporter,
    MeterProvider,
    PeriodicExportingMetricReader,
  } = await import("@opentelemetry/sdk-metrics");
  const { TracerProvider } = await import("@opentelemetry/sdk-trace");
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  otel.trace.setGlobalTracerProvider(new TracerProvider());
  otel.metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  try {
    await gauged({});
    const read = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
    const rows = read
      .flatMap(({ metrics }) => metrics)
      .find(({ descriptor }) => descriptor.name === "spillway.run.rows");
    assert.deepEqual(
      rows?.dataPoints.map(({ value }) => value),
      [20],
    );
  } finally {
    otel.trace.disable();
    otel.metrics.disable();
    await reader.shutdown();
  }
});

describe("the names of telemetry", () => {
  it("are all emitted, and nothing is emitted that has no name", async () => {
    const receiver = await startOtlpReceiver();
    await gauged({ otlp: receiver.url });
    await gauged({ otlp: receiver.url }, undefined, new Error("no"));
    await receiver.close();
    const emitted = {
      spans: new Set(receiver.spans.map(({ name }) => name.replace(/ .*/, ""))),
      metrics: new Set(receiver.metrics.map(({ name }) => name)),
      attributes: new Set(
        [...receiver.spans, ...receiver.metrics.flatMap(({ points }) => points)].flatMap((said) =>
          Object.keys(said.attributes),
        ),
      ),
    };
    const listed = (entries: Record<string, { readonly name: string }>) =>
      new Set(Object.values(entries).map(({ name }) => name));
    assert.deepEqual(emitted.spans, listed(spans));
    assert.deepEqual(emitted.metrics, listed(metrics));
    assert.deepEqual(emitted.attributes, listed(attributes));
  });

  it("have the system of every source that asks a database", () => {
    const sources = [...registry.values()].filter(
      ({ takes, config }) => takes === "nothing" && "query" in config.entries,
    );
    assert.deepEqual(
      Object.keys(clientStages),
      sources.map(({ name }) => name),
    );
  });

  it("are unique, and their sentences end", () => {
    const entries = [...Object.values(metrics), ...Object.values(attributes)];
    assert.equal(
      new Set(Object.values(metrics).map(({ name }) => name)).size,
      Object.values(metrics).length,
    );
    for (const { name, sentence } of entries) assert.match(sentence, /\.$/, name);
  });

  it("are the ones in the documentation", async () => {
    const text = await readFile(new URL("../../docs/telemetry.md", import.meta.url), "utf8");
    assert.ok(text.includes(telemetryReference()), "docs/telemetry.md is not up to date");
  });
});
