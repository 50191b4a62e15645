import assert from "node:assert/strict";
import { PipelineError } from "../../src/errors.ts";
import { startTelemetry, type Telemetry } from "../../src/telemetry/sdk.ts";
import { watchRun, type WatchInit } from "../../src/telemetry/watch.ts";
import {
  startOtlpReceiver,
  type OtlpReceiver,
  type ReceivedSpan,
} from "../servers/otlp-receiver.ts";
import { runSynthetic, type SyntheticRun } from "./synthetic-run.ts";

const incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const crashed = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01";

/** One run against a receiver; what arrived is read when it has ended. */
async function traced(
  sdk: "light" | "node",
  receiver: OtlpReceiver,
  {
    pages = 3,
    env = {},
    ...more
  }: Partial<SyntheticRun & Pick<WatchInit, "resumedFrom">> & {
    env?: Record<string, string>;
  } = {},
) {
  const telemetry = await startTelemetry({ sdk, otlp: receiver.url }, env, {
    service: { version: "1.2.3" },
  });
  const watch = watchRun({
    telemetry,
    pipeline: "observations",
    runId: "run-1",
    resumedFrom: more.resumedFrom,
  });
  const failure = await runSynthetic(watch, { pages, ...more }).then(
    (traceparents) => ({ traceparents, error: undefined }),
    (error: unknown) => ({ traceparents: [], error }),
  );
  watch.end(failure.error);
  const losses = await telemetry.shutdown(5000);
  return { ...failure, watch, telemetry, losses };
}

for (const sdk of ["light", "node"] as const) {
  describe(`telemetry with sdk: ${sdk}`, () => {
    let receiver: OtlpReceiver;
    beforeEach(async () => {
      receiver = await startOtlpReceiver();
    });
    afterEach(() => receiver.close());

    const named = (name: string) => receiver.spans.filter((span) => span.name === name);
    const only = (name: string): ReceivedSpan => {
      const [span, ...more] = named(name);
      assert.ok(span, name);
      assert.equal(more.length, 0);
      return span;
    };

    it("sends one trace: the run, its stages, and each page with seal, spool and upload", async () => {
      const { watch, losses } = await traced(sdk, receiver);
      assert.deepEqual(losses, { droppedSpans: 0, exportErrors: 0 });
      const run = only("export observations");
      assert.equal(run.parentSpanId, "");
      assert.equal(run.traceId, watch.traceId);
      assert.equal(watch.traceparent, `00-${run.traceId}-${run.spanId}-01`);
      assert.equal(receiver.spans.length, 1 + 6 + 3 * 4);
      assert.deepEqual(new Set(receiver.spans.map(({ traceId }) => traceId)).size, 1);
      const stages = ["postgres", "serialize", "chunk", "seal", "spool", "upload"];
      for (const stage of stages) {
        const span = only(`stage ${stage}`);
        assert.equal(span.parentSpanId, run.spanId);
        assert.equal(span.kind, stage === "postgres" ? 3 : 1);
        assert.equal(span.attributes["spillway.stage.rows"], 30);
        assert.equal(typeof span.attributes["spillway.stage.busy_seconds"], "number");
        assert.ok(inside(span, run));
      }
      assert.equal(only("stage postgres").attributes["db.system.name"], "postgresql");
      assert.equal(run.attributes["spillway.run.id"], "run-1");
      assert.equal(run.attributes["spillway.run.pages"], 3);
      assert.equal(run.attributes["spillway.run.bottleneck"], watch.bottleneck());
      assert.equal(run.resource["service.name"], "spillway");
      assert.equal(run.resource["service.version"], "1.2.3");
    });

    it("keeps a page's journey in order, its seal at the worker's own time", async () => {
      await traced(sdk, receiver);
      const run = only("export observations");
      const pages = named("page");
      const numbers = pages.map(({ attributes }) => attributes["spillway.page.number"]);
      assert.deepEqual(new Set(numbers), new Set([0, 1, 2]));
      for (const page of pages) {
        assert.equal(page.parentSpanId, run.spanId);
        assert.equal(page.attributes["spillway.page.outcome"], "uploaded");
        assert.equal(page.attributes["spillway.page.records"], 10);
        assert.equal(page.attributes["spillway.page.bytes"], 1000);
        assert.equal(page.attributes["spillway.page.sealed_bytes"], 500);
        const legs = ["seal", "spool", "upload"].map((name) => {
          const leg = named(name).find(({ parentSpanId }) => parentSpanId === page.spanId);
          assert.ok(leg, name);
          assert.ok(inside(leg, page), `${name} within its page`);
          return leg;
        });
        const [seal, spool, upload] = legs;
        assert.ok(seal && spool && upload);
        assert.ok(millisOf(seal) >= 2, `${millisOf(seal)}`);
        assert.ok(seal.endNanos <= spool.startNanos + 1_000_000n);
        assert.ok(spool.endNanos <= upload.startNanos);
      }
    });

    it("gives each page the traceparent of its own span for the object's metadata", async () => {
      const { traceparents } = await traced(sdk, receiver);
      const expected = named("page").map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`);
      assert.deepEqual(new Set(traceparents), new Set(expected));
    });

    it("puts the run under TRACEPARENT and links it to the attempt it goes on with", async () => {
      await traced(sdk, receiver, {
        env: { TRACEPARENT: incoming, TRACESTATE: "vendor=1" },
        resumedFrom: { traceparent: crashed },
      });
      const run = only("export observations");
      assert.equal(run.traceId, "0af7651916cd43dd8448eb211c80319c");
      assert.equal(run.parentSpanId, "b7ad6b7169203331");
      assert.deepEqual(run.links, [
        { traceId: "1bf7651916cd43dd8448eb211c80319c", spanId: "c7ad6b7169203331" },
      ]);
    });

    it("tells where a run failed: code and message on the origin and the run, pages aborted", async () => {
      const error = new PipelineError("destination-failed", "upload: the bucket is gone");
      const { error: thrown } = await traced(sdk, receiver, { failAt: { page: 1, error } });
      assert.equal(thrown, error);
      const run = only("export observations");
      const upload = only("stage upload");
      for (const span of [run, upload]) {
        assert.deepEqual(span.status, { code: 2, message: "upload: the bucket is gone" });
        assert.equal(span.attributes["error.type"], "destination-failed");
      }
      const failed = receiver.spans.filter(
        ({ name, status }) => name.startsWith("stage") && status.code,
      );
      assert.deepEqual(failed, [upload]);
      const aborted = named("page").filter(
        ({ attributes }) => attributes["spillway.page.outcome"] === "aborted",
      );
      assert.ok(aborted.some(({ attributes }) => attributes["spillway.page.number"] === 1));
    });

    it("tells only the class of an error that is not ours", async () => {
      const error = new TypeError("value 123-45-6789 of a row");
      await traced(sdk, receiver, { failAt: { page: 0, error } });
      const run = only("export observations");
      assert.deepEqual([run.status.code, run.attributes["error.type"]], [2, "TypeError"]);
      assert.ok(!JSON.stringify(receiver.spans.map(({ status }) => status)).includes("123-45"));
    });

    it("honours names, attributes, headers, compression and sampling of the environment", async () => {
      const env = {
        OTEL_SERVICE_NAME: "nightly",
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test%20lab,service.name=other",
        OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=blue%2Cgreen",
        OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
      };
      await traced(sdk, receiver, { env });
      const { resource } = only("export observations");
      assert.equal(resource["service.name"], "nightly");
      assert.equal(resource["deployment.environment.name"], "test lab");
      const [request] = receiver.requests;
      assert.equal(request?.headers["x-tenant"], "blue,green");
      assert.equal(request?.headers["content-encoding"], "gzip");
      receiver.spans.length = 0;
      const { watch } = await traced(sdk, receiver, { env: { OTEL_TRACES_SAMPLER: "always_off" } });
      assert.deepEqual(receiver.spans, []);
      assert.deepEqual([watch.traceId, watch.traceparent], [null, null]);
    });

    it("puts neither the command line nor its owner on anything", async () => {
      await traced(sdk, receiver);
      const [span] = receiver.spans;
      const keys = Object.keys(span?.resource ?? {});
      assert.deepEqual(
        keys.filter((key) => key.startsWith("process.")),
        [],
      );
    });

    it("sends only the signals that are asked for", async () => {
      await traced(sdk, receiver, { env: { OTEL_METRICS_EXPORTER: "none" } });
      assert.deepEqual([...new Set(receiver.requests.map(({ path }) => path))], ["/v1/traces"]);
      receiver.requests.length = 0;
      await traced(sdk, receiver, { env: { OTEL_TRACES_EXPORTER: "none" } });
      assert.deepEqual([...new Set(receiver.requests.map(({ path }) => path))], ["/v1/metrics"]);
    });
  });
}

describe("telemetry", () => {
  let receiver: OtlpReceiver;
  before(async () => {
    receiver = await startOtlpReceiver();
  });
  after(() => receiver.close());
  it("is off unless somebody asks", async () => {
    assert.equal(await sdkOf(undefined, {}), "off");
    assert.equal(await sdkOf({ sdk: "node" }, { OTEL_SERVICE_NAME: "x" }), "off");
    assert.equal(await sdkOf(undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: "" }), "off");
    assert.equal(await sdkOf(undefined, { OTEL_TRACES_EXPORTER: "none" }), "off");
    const telemetry = await startTelemetry(undefined, {});
    assert.equal(telemetry.enabled, false);
    const span = telemetry.tracer.startSpan("nothing");
    assert.equal(span.isRecording(), false);
    assert.deepEqual(await telemetry.shutdown(0), { droppedSpans: 0, exportErrors: 0 });
  });

  it("is on by config or by any of the variables, and OTEL_SDK_DISABLED wins", async () => {
    const { url } = receiver;
    const asks = [
      { OTEL_EXPORTER_OTLP_ENDPOINT: url },
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/v1/traces` },
      { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${url}/v1/metrics` },
    ];
    for (const env of asks) assert.equal(await sdkOf(undefined, env), "light");
    assert.equal(await sdkOf({ otlp: url }, {}), "light");
    assert.equal(await sdkOf({ otlp: url }, { OTEL_SDK_DISABLED: "true" }), "off");
  });

  it("refuses an endpoint that is none, without repeating it", async () => {
    for (const otlp of ["not a url", "ftp://user:secret@host"]) {
      await assert.rejects(startTelemetry({ otlp }, {}), (error) => {
        assert.ok(error instanceof PipelineError);
        assert.equal(error.code, "config-invalid");
        assert.ok(!error.message.includes(otlp));
        return true;
      });
    }
  });

  it("says what `light` does not speak", async () => {
    const warnings: string[] = [];
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
      OTEL_TRACES_EXPORTER: "otlp,console",
      OTEL_TRACES_SAMPLER: "jaeger_remote",
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "delta",
      OTEL_EXPORTER_OTLP_CLIENT_KEY: "/run/secrets/key.pem",
    };
    const log = { warn: (message: string) => void warnings.push(message) };
    const telemetry = await startTelemetry(undefined, env, { log });
    await telemetry.shutdown(1000);
    assert.equal(warnings.filter((warning) => warning.includes("grpc")).length, 2);
    assert.ok(warnings.some((warning) => warning.includes("console")));
    for (const said of ["jaeger_remote", "TEMPORALITY_PREFERENCE", "OTLP_CLIENT_KEY"])
      assert.ok(
        warnings.some((warning) => warning.includes(said)),
        said,
      );
    assert.ok(!warnings.some((warning) => warning.includes("secrets")));
  });

  it("registers nothing globally with `light`", async () => {
    const { trace } = await import("@opentelemetry/api");
    const telemetry = await startTelemetry({ otlp: receiver.url }, {});
    assert.equal(trace.getTracer("anyone").startSpan("probe").isRecording(), false);
    await telemetry.shutdown(1000);
  });

  it("joins the traces of an application that has its own SDK", async () => {
    const { trace } = await import("@opentelemetry/api");
    const { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } =
      await import("@opentelemetry/sdk-trace");
    const exporter = new InMemorySpanExporter();
    const provider = new TracerProvider({
      spanProcessors: [new SimpleSpanProcessor({ exporter })],
    });
    trace.setGlobalTracerProvider(provider);
    try {
      const telemetry = await startTelemetry(undefined, {});
      assert.deepEqual([telemetry.sdk, telemetry.enabled], ["application", true]);
      const watch = watchRun({ telemetry, pipeline: "p", runId: "r" });
      await runSynthetic(watch, { pages: 1 });
      watch.end();
      assert.deepEqual(await telemetry.shutdown(1000), { droppedSpans: 0, exportErrors: 0 });
      assert.ok(exporter.getFinishedSpans().some(({ name }) => name === "export p"));
      const other = await startTelemetry({ sdk: "node", otlp: receiver.url }, {});
      await other.shutdown(1000);
      trace.getTracer("application").startSpan("later").end();
      assert.equal(other.sdk, "application", "there is room for one that registers globally");
      assert.ok(exporter.getFinishedSpans().some(({ name }) => name === "later"));
    } finally {
      trace.disable();
    }
  });
});

function inside(inner: ReceivedSpan, outer: ReceivedSpan): boolean {
  return (
    inner.startNanos >= outer.startNanos &&
    inner.startNanos <= inner.endNanos &&
    inner.endNanos <= outer.endNanos
  );
}

function millisOf({ startNanos, endNanos }: ReceivedSpan): number {
  return Number(endNanos - startNanos) / 1e6;
}

async function sdkOf(...args: Parameters<typeof startTelemetry>): Promise<Telemetry["sdk"]> {
  const telemetry = await startTelemetry(...args);
  await telemetry.shutdown(1000);
  return telemetry.sdk;
}
