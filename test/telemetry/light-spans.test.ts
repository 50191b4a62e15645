/** Spans of `sdk: light` that are made without the SDK. */
import assert from "node:assert/strict";
import type { Context, Span, SpanContext, Tracer } from "@opentelemetry/api";
import { createLightTracer } from "../../src/telemetry/light-spans.ts";
import type { ToldSpan } from "../../src/telemetry/otlp-json.ts";
import { ROOT_CONTEXT, SpanStatusCode, trace } from "../../src/telemetry/packages.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const at = 1_700_000_000_123.25;

/** As an SDK's span that has begun, or as one that came from elsewhere. */
function above(traceFlags: number, recording = true): Context {
  const context: SpanContext = { traceId, spanId: "b7ad6b7169203331", traceFlags };
  const span = { spanContext: () => context, isRecording: () => recording };
  return trace.setSpan(ROOT_CONTEXT, span as unknown as Span);
}

function openTracer() {
  const ended: ToldSpan[] = [];
  const left: string[] = [];
  const sdk = {
    startSpan: (name: string) => void left.push(name),
    startActiveSpan() {},
  } as unknown as Tracer;
  const ids = { generateSpanId: () => "00f067aa0ba902b7" };
  const origin = {
    resource: { attributes: {} },
    instrumentationScope: { name: "spillway" },
  } as LightOrigin;
  const onEnd = (span: ToldSpan) => void ended.push(span);
  return { tracer: createLightTracer({ sdk, ids, origin, onEnd }), ended, left };
}

type LightOrigin = Pick<ToldSpan, "resource" | "instrumentationScope">;

describe("a span of a sampled trace", () => {
  it("is told once, with its trace, its parent, its times and what it was given", () => {
    const { tracer, ended } = openTracer();
    const span = tracer.startSpan("page", { startTime: at, attributes: { a: 1 } }, above(1));
    span.setAttribute("b", "two").setAttributes({ a: 3 });
    span.setStatus({ code: SpanStatusCode.ERROR, message: "failed" });
    assert.equal(ended.length, 0);
    span.end(at + 1000.5);
    span.end(at + 9000);
    const [told] = ended;
    assert.equal(ended.length, 1);
    assert.deepEqual(told?.spanContext(), { traceId, spanId: "00f067aa0ba902b7", traceFlags: 1 });
    assert.equal(told.parentSpanContext?.spanId, "b7ad6b7169203331");
    assert.deepEqual(told.startTime, [1_700_000_000, 123_250_000]);
    assert.deepEqual(told.endTime, [1_700_000_001, 123_750_000]);
    assert.deepEqual(told.attributes, { a: 3, b: "two" });
    assert.deepEqual(told.status, { code: SpanStatusCode.ERROR, message: "failed" });
  });

  it("never ends before it begins, and records until it ends", () => {
    const { tracer, ended } = openTracer();
    const span = tracer.startSpan("page", { startTime: at }, above(1));
    assert.equal(span.isRecording(), true);
    span.end(at - 5000);
    assert.equal(span.isRecording(), false);
    assert.deepEqual(ended[0]?.endTime, ended[0]?.startTime);
  });

  it("is above others like it", () => {
    const { tracer, ended, left } = openTracer();
    const page = tracer.startSpan("page", {}, above(1));
    tracer.startSpan("seal", {}, trace.setSpan(ROOT_CONTEXT, page)).end();
    assert.equal(ended[0]?.parentSpanContext?.spanId, page.spanContext().spanId);
    assert.deepEqual(left, []);
  });
});

describe("any other span", () => {
  it("is the SDK's: a root, one of a trace left out, one whose parent is elsewhere", () => {
    const { tracer, left } = openTracer();
    tracer.startSpan("no parent", {}, ROOT_CONTEXT);
    tracer.startSpan("a root", { root: true }, above(1));
    tracer.startSpan("left out", {}, above(0));
    tracer.startSpan("from elsewhere", {}, above(1, false));
    assert.deepEqual(left, ["no parent", "a root", "left out", "from elsewhere"]);
  });
});
