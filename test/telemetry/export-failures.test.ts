import assert from "node:assert/strict";
import { mock } from "node:test";
import { startTelemetry } from "../../src/telemetry/sdk.ts";
import { watchRun } from "../../src/telemetry/watch.ts";
import { startOtlpReceiver } from "../servers/otlp-receiver.ts";
import { freePort } from "../servers/free-port.ts";
import { runSynthetic } from "./synthetic-run.ts";

/** Two pages: 1 run, 6 stages, 2 × (page, seal, spool, upload). */
const pages = 2;
const spans = 15;

async function exportTo(otlp: string, sdk: "light" | "node", env = {}, deadlineMillis = 300) {
  const telemetry = await startTelemetry({ otlp, sdk }, env);
  const watch = watchRun({ telemetry, pipeline: "p", runId: "r" });
  await runSynthetic(watch, { pages });
  watch.end();
  const start = performance.now();
  const losses = await telemetry.shutdown(deadlineMillis);
  return { ...losses, shutdownMillis: performance.now() - start };
}

for (const sdk of ["light", "node"] as const) {
  describe(`a collector that fails sdk: ${sdk}`, () => {
    it("by being down costs no run and no wait, and every span is counted as lost", async () => {
      const port = await freePort();
      const result = await exportTo(`http://127.0.0.1:${port}`, sdk);
      assert.equal(result.droppedSpans, spans);
      assert.ok(result.shutdownMillis < 500, `${result.shutdownMillis}`);
    });

    it("by never answering costs the shutdown deadline at most", async () => {
      const receiver = await startOtlpReceiver({ mute: true });
      try {
        const result = await exportTo(receiver.url, sdk);
        assert.ok(result.shutdownMillis < 600, `${result.shutdownMillis}`);
        assert.ok(receiver.requests.length > 0);
        assert.equal(result.droppedSpans, spans);
        if (sdk === "light") assert.equal(result.exportErrors, 2);
      } finally {
        await receiver.close();
      }
    });

    it("by refusing is not asked again, and what it refused is counted", async () => {
      const receiver = await startOtlpReceiver({ status: () => 400 });
      try {
        const env = { OTEL_METRICS_EXPORTER: "none" };
        const { droppedSpans, exportErrors } = await exportTo(receiver.url, sdk, env, 2000);
        assert.deepEqual([droppedSpans, exportErrors, receiver.requests.length], [spans, 1, 1]);
      } finally {
        await receiver.close();
      }
    });

    it("with a small queue: what does not fit is counted exactly", async () => {
      const receiver = await startOtlpReceiver();
      try {
        const env = { OTEL_BSP_MAX_QUEUE_SIZE: "4", OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "4" };
        const telemetry = await startTelemetry({ otlp: receiver.url, sdk }, env);
        for (let index = 0; index < 100; index += 1) telemetry.tracer.startSpan(`${index}`).end();
        const { droppedSpans } = await telemetry.shutdown(2000);
        assert.ok(droppedSpans > 0);
        assert.equal(droppedSpans + receiver.spans.length, 100);
      } finally {
        await receiver.close();
      }
    });
  });
}

it("sdk: node tells on standard error what a collector turned away, as far as texts say it", async () => {
  const receiver = await startOtlpReceiver({ rejects: 3 });
  const told = mock.method(process.stderr, "write", () => true);
  try {
    const env = { OTEL_METRICS_EXPORTER: "none", OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" };
    await exportTo(receiver.url, "node", env, 2000);
    const lines = told.mock.calls.map(({ arguments: [line] }) => String(line));
    assert.match(lines.join(""), /^opentelemetry: .*\{"rejectedSpans":"3"\}\n$/);
  } finally {
    told.mock.restore();
    await receiver.close();
  }
});

describe("an OTLP request", () => {
  it("is tried again while the collector says it will come back", async () => {
    const receiver = await startOtlpReceiver({ status: (request) => (request < 2 ? 503 : 200) });
    try {
      const env = { OTEL_METRICS_EXPORTER: "none", OTEL_BSP_SCHEDULE_DELAY: "10" };
      const telemetry = await startTelemetry({ otlp: receiver.url }, env);
      telemetry.tracer.startSpan("patient").end();
      while (receiver.spans.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(receiver.requests.length, 3);
      assert.deepEqual(await telemetry.shutdown(1000), { droppedSpans: 0, exportErrors: 0 });
    } finally {
      await receiver.close();
    }
  });

  it("carries what fits a block; more spans go in more requests and none is lost", async () => {
    const receiver = await startOtlpReceiver({ delayMillis: 20 });
    try {
      const env = { OTEL_METRICS_EXPORTER: "none" };
      const telemetry = await startTelemetry({ otlp: receiver.url }, env);
      for (let index = 0; index < 2000; index += 1) {
        const span = telemetry.tracer.startSpan(`span ${index}`);
        span.setAttribute("text", "ä".repeat(index % 600)).end();
      }
      assert.deepEqual(await telemetry.shutdown(5000), { droppedSpans: 0, exportErrors: 0 });
      assert.equal(new Set(receiver.spans.map(({ name }) => name)).size, 2000);
      assert.ok(receiver.requests.length >= 4);
      for (const { headers } of receiver.requests) {
        assert.ok(Number(headers["content-length"]) <= 256 * 1024);
      }
    } finally {
      await receiver.close();
    }
  });

  it("is sent when a small queue is full, and what comes meanwhile finds room", async () => {
    const receiver = await startOtlpReceiver({ delayMillis: 20 });
    try {
      const env = {
        OTEL_METRICS_EXPORTER: "none",
        OTEL_BSP_MAX_QUEUE_SIZE: "4",
        OTEL_BSP_SCHEDULE_DELAY: "600000",
      };
      const telemetry = await startTelemetry({ otlp: receiver.url }, env);
      for (let index = 0; index < 8; index += 1) telemetry.tracer.startSpan(`${index}`).end();
      while (receiver.spans.length < 8) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(await telemetry.shutdown(2000), { droppedSpans: 0, exportErrors: 0 });
    } finally {
      await receiver.close();
    }
  });

  it("that was on its way at shutdown is waited for", async () => {
    const receiver = await startOtlpReceiver({ delayMillis: 100 });
    try {
      const env = { OTEL_METRICS_EXPORTER: "none", OTEL_BSP_SCHEDULE_DELAY: "1" };
      const telemetry = await startTelemetry({ otlp: receiver.url }, env);
      telemetry.tracer.startSpan("early").end();
      while (receiver.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      telemetry.tracer.startSpan("late").end();
      assert.deepEqual(await telemetry.shutdown(2000), { droppedSpans: 0, exportErrors: 0 });
      assert.deepEqual(new Set(receiver.spans.map(({ name }) => name)), new Set(["early", "late"]));
    } finally {
      await receiver.close();
    }
  });

  it("has one deadline for all its attempts", async () => {
    const receiver = await startOtlpReceiver({ status: () => 503 });
    try {
      const env = {
        OTEL_METRICS_EXPORTER: "none",
        OTEL_BSP_SCHEDULE_DELAY: "1",
        OTEL_EXPORTER_OTLP_TIMEOUT: "400",
      };
      const telemetry = await startTelemetry({ otlp: receiver.url }, env);
      telemetry.tracer.startSpan("hopeless").end();
      await new Promise((resolve) => setTimeout(resolve, 700));
      const attempts = receiver.requests.length;
      assert.ok(attempts > 1 && attempts < 5, `${attempts}`);
      assert.deepEqual(await telemetry.shutdown(1000), { droppedSpans: 1, exportErrors: 1 });
    } finally {
      await receiver.close();
    }
  });

  it("counts what the collector turned away of an accepted request", async () => {
    const receiver = await startOtlpReceiver({ rejects: 3 });
    try {
      const env = { OTEL_METRICS_EXPORTER: "none" };
      const { droppedSpans } = await exportTo(receiver.url, "light", env, 2000);
      assert.equal(droppedSpans, 3);
      const none = { OTEL_TRACES_EXPORTER: "none" };
      const { exportErrors } = await exportTo(receiver.url, "light", none, 2000);
      assert.equal(exportErrors, 1, "a part of the metrics");
    } finally {
      await receiver.close();
    }
  });
});
