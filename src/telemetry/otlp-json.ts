/** Spans and metrics as OTLP/JSON 1.x (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). */
import type { Attributes, HrTime, SpanContext } from "@opentelemetry/api";
import type { MetricData, ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

/** As much of a span as is told of it. */
export type ToldSpan = Pick<
  ReadableSpan,
  | "name"
  | "kind"
  | "spanContext"
  | "parentSpanContext"
  | "startTime"
  | "endTime"
  | "status"
  | "attributes"
  | "droppedAttributesCount"
  | "links"
  | "resource"
  | "instrumentationScope"
>;

/** How the body of `POST /v1/traces` begins; spans of one tracer share resource and scope, and follow with commas. */
export function encodeSpansHead({
  resource,
  instrumentationScope,
}: Pick<ToldSpan, "resource" | "instrumentationScope">): string {
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

/**
 * One span of the body. Texts are put together here and not by `JSON.stringify` of an object: there are four spans a page, and
 * an export runs without a compiler for JavaScript. Ids are digits; whatever else is a text goes through `JSON.stringify`.
 */
export function encodeSpan(span: ToldSpan): string {
  const own = span.spanContext();
  const parent = span.parentSpanContext;
  const { message } = span.status;
  const links = span.links.length > 0 ? JSON.stringify(span.links.map(encodeLink)) : "[]";
  return (
    `{${identity(own)}${parent ? `,"parentSpanId":"${parent.spanId}"` : ""}` +
    `,"flags":${flags(own.traceFlags, parent?.isRemote)},"name":${JSON.stringify(span.name)}` +
    // OTLP counts kinds from 1, because 0 means unspecified.
    `,"kind":${span.kind + 1},"startTimeUnixNano":"${nanos(span.startTime)}"` +
    `,"endTimeUnixNano":"${nanos(span.endTime)}"` +
    `,"attributes":${encodeAttributes(span.attributes)}` +
    `,"droppedAttributesCount":${span.droppedAttributesCount},"links":${links}` +
    `,"status":{"code":${span.status.code}${message === undefined ? "" : `,"message":${JSON.stringify(message)}`}}}`
  );
}

function encodeAttributes(attributes: Attributes): string {
  let text = "";
  for (const [key, value] of Object.entries(attributes)) {
    const shown = Number.isSafeInteger(value)
      ? `{"intValue":"${String(value)}"}`
      : JSON.stringify(anyValue(value));
    text += `${text && ","}{"key":${JSON.stringify(key)},"value":${shown}}`;
  }
  return `[${text}]`;
}

function encodeLink({ context, attributes }: ReadableSpan["links"][number]): object {
  const { traceId, spanId, traceState, traceFlags } = context;
  return {
    traceId,
    spanId,
    ...(traceState && { traceState: traceState.serialize() }),
    attributes: keyValues(attributes ?? {}),
    flags: flags(traceFlags, context.isRemote),
  };
}

function identity({ traceId, spanId, traceState }: SpanContext): string {
  const state = traceState ? `,"traceState":${JSON.stringify(traceState.serialize())}` : "";
  return `"traceId":"${traceId}","spanId":"${spanId}"${state}`;
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
