/** Spans and metrics as OTLP/JSON 1.x (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). */
import type { Attributes, HrTime, SpanContext } from "@opentelemetry/api";
import type { MetricData, ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

/** How the body of `POST /v1/traces` begins; spans of one tracer share resource and scope, and follow with commas. */
export function encodeSpansHead({ resource, instrumentationScope }: ReadableSpan): string {
  const { name, version } = instrumentationScope;
  const attributes = JSON.stringify(keyValues(resource.attributes));
  const scope = JSON.stringify({ name, version });
  return `{"resourceSpans":[{"resource":{"attributes":${attributes}},"scopeSpans":[{"scope":${scope},"spans":[`;
}

/** How it ends. */
export const spansTail = "]}]}]}";

/** The body of `POST /v1/metrics`. */
export function encodeMetrics(metrics: ResourceMetrics): string {
  const resource = { attributes: keyValues(metrics.resource.attributes) };
  const scopeMetrics = metrics.scopeMetrics.map(({ scope, metrics }) => ({
    scope: { name: scope.name, version: scope.version },
    metrics: metrics.map(encodeMetric),
  }));
  return JSON.stringify({ resourceMetrics: [{ resource, scopeMetrics }] });
}

/** One span of the body. */
export function encodeSpan(span: ReadableSpan): string {
  const own = span.spanContext();
  const parent = span.parentSpanContext;
  return JSON.stringify({
    ...identity(own),
    ...(parent && { parentSpanId: parent.spanId }),
    flags: flags(own.traceFlags, parent?.isRemote),
    name: span.name,
    // OTLP counts kinds from 1, because 0 means unspecified.
    kind: span.kind + 1,
    startTimeUnixNano: nanos(span.startTime),
    endTimeUnixNano: nanos(span.endTime),
    attributes: keyValues(span.attributes),
    droppedAttributesCount: span.droppedAttributesCount,
    links: span.links.map(({ context, attributes }) => ({
      ...identity(context),
      attributes: keyValues(attributes ?? {}),
      flags: flags(context.traceFlags, context.isRemote),
    })),
    status: { code: span.status.code, message: span.status.message },
  });
}

function identity({ traceId, spanId, traceState }: SpanContext): object {
  return { traceId, spanId, ...(traceState && { traceState: traceState.serialize() }) };
}

/** The low byte is W3C's; bit 8 says that bit 9 is known, bit 9 that the parent or link is remote. */
function flags(traceFlags: number, isRemote = false): number {
  return (traceFlags & 0xff) | 0x100 | (isRemote ? 0x200 : 0);
}

/** Cumulative in OTLP's numbering. */
const cumulative = 2;

/** Only sums and gauges are made here; a histogram would have to be added with its first use. */
function encodeMetric(metric: MetricData): object {
  const { name, description, unit } = metric.descriptor;
  const dataPoints: object[] = [];
  for (const { attributes, startTime, endTime, value } of metric.dataPoints) {
    if (typeof value !== "number") continue;
    dataPoints.push({
      attributes: keyValues(attributes),
      startTimeUnixNano: nanos(startTime),
      timeUnixNano: nanos(endTime),
      asDouble: value,
    });
  }
  const isSum = "isMonotonic" in metric;
  const sum = isSum && {
    aggregationTemporality: cumulative,
    isMonotonic: metric.isMonotonic,
    dataPoints,
  };
  return { name, description, unit, ...(sum ? { sum } : { gauge: { dataPoints } }) };
}

function keyValues(attributes: Attributes): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: unknown): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  // 64-bit integers are texts in the JSON form of protocol buffers.
  if (Number.isSafeInteger(value)) return { intValue: String(value) };
  if (typeof value === "number") return { doubleValue: value };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  return {};
}

function nanos([seconds, nanos]: HrTime): string {
  return `${seconds}${String(nanos).padStart(9, "0")}`;
}
