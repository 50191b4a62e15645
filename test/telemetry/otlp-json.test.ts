/** Spans as OTLP/JSON: what is put together as a text is JSON, whatever the texts in it are. */
import assert from "node:assert/strict";
import { createTraceState, ROOT_CONTEXT, SpanStatusCode, trace } from "@opentelemetry/api";
import { TracerProvider, type ReadableSpan } from "@opentelemetry/sdk-trace";
import { encodeSpan } from "../../src/telemetry/otlp-json.ts";

const hostile = 'a "quoted" \\ name\n\u0000 ä 🩺';
const ended: ReadableSpan[] = [];
const provider = new TracerProvider({
  spanProcessors: [
    {
      onStart() {},
      onEnd: (span) => void ended.push(span),
      forceFlush: async () => {},
      shutdown: async () => {},
    },
  ],
});
const tracer = provider.getTracer("test");
const parent = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  traceFlags: 1,
  isRemote: true,
  traceState: createTraceState("vendor=value"),
};
const inParent = trace.setSpanContext(ROOT_CONTEXT, parent);

/** The last span that ended, through its encoding and back. */
const decoded = () => JSON.parse(encodeSpan(ended.at(-1)!)) as Record<string, unknown>;

describe("a span as OTLP/JSON", () => {
  it("keeps every text, attribute, link and its parent", () => {
    const span = tracer.startSpan(
      hostile,
      {
        startTime: 1_700_000_000_123,
        attributes: { [hostile]: hostile, count: 7, share: 0.5, on: true, list: ["x", "y"] },
        links: [{ context: parent, attributes: { why: hostile } }],
      },
      inParent,
    );
    span.setStatus({ code: SpanStatusCode.ERROR, message: hostile });
    span.end(1_700_000_001_456);
    assert.deepEqual(decoded(), {
      traceId: parent.traceId,
      spanId: span.spanContext().spanId,
      traceState: "vendor=value",
      parentSpanId: parent.spanId,
      flags: 0x301,
      name: hostile,
      kind: 1,
      startTimeUnixNano: "1700000000123000000",
      endTimeUnixNano: "1700000001456000000",
      attributes: [
        { key: hostile, value: { stringValue: hostile } },
        { key: "count", value: { intValue: "7" } },
        { key: "share", value: { doubleValue: 0.5 } },
        { key: "on", value: { boolValue: true } },
        {
          key: "list",
          value: { arrayValue: { values: [{ stringValue: "x" }, { stringValue: "y" }] } },
        },
      ],
      droppedAttributesCount: 0,
      links: [
        {
          traceId: parent.traceId,
          spanId: parent.spanId,
          traceState: "vendor=value",
          attributes: [{ key: "why", value: { stringValue: hostile } }],
          flags: 0x301,
        },
      ],
      status: { code: 2, message: hostile },
    });
  });

  it("leaves out what a span does not have", () => {
    tracer.startSpan("root", {}, ROOT_CONTEXT).end();
    const { parentSpanId, traceState, attributes, links, status } = decoded();
    assert.deepEqual([parentSpanId, traceState], [undefined, undefined]);
    assert.deepEqual([attributes, links, status], [[], [], { code: 0 }]);
  });
});
