/** W3C Trace Context level 1 (https://www.w3.org/TR/trace-context/): one line of text that names a span. */
import type { SpanContext } from "@opentelemetry/api";

const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Reads a traceparent from another process; undefined when it is absent or not valid, as the standard asks. */
export function parseTraceparent(text: string | undefined): SpanContext | undefined {
  const [, version, traceId = "", spanId = "", flags = "", more] =
    pattern.exec(text?.trim() ?? "") ?? [];
  if (!version || version === "ff" || (version === "00" && more)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
}

export function formatTraceparent(span: SpanContext): string {
  return `00-${span.traceId}-${span.spanId}-0${span.traceFlags & 1}`;
}
