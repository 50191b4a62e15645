/**
 * Spans of a trace that is sampled already, made without the SDK: four of them follow each page, and what the SDK does for one
 * beside telling of it (sampling, limits, metrics of its own) takes longer than that. The first span of a trace is the SDK's.
 */
import type { Attributes, AttributeValue, Link, Span, SpanContext } from "@opentelemetry/api";
import type { HrTime, SpanOptions, SpanStatus, TimeInput, Tracer } from "@opentelemetry/api";
import { epochMillis } from "./epoch-millis.ts";
import type { ToldSpan } from "./otlp-json.ts";
import { SpanKind, SpanStatusCode, trace } from "./packages.ts";

export interface LightSpansInit {
  /** Makes all other spans. */
  readonly sdk: Tracer;
  readonly ids: { generateSpanId(): string };
  /** Where spans come from. */
  readonly origin: Pick<ToldSpan, "resource" | "instrumentationScope">;
  readonly onEnd: (span: ToldSpan) => void;
}

/** A tracer that makes the children of a span that is recorded here and sampled; one answer holds for a whole trace. */
export function createLightTracer(init: LightSpansInit): Tracer {
  const { sdk, ids } = init;
  return {
    startSpan(name, options = {}, context) {
      const parent = context && !options.root ? trace.getSpan(context) : undefined;
      const above = parent?.isRecording() ? parent.spanContext() : undefined;
      if (!above || (above.traceFlags & 1) === 0) return sdk.startSpan(name, options, context);
      return new LightSpan(name, { ...above, spanId: ids.generateSpanId() }, above, options, init);
    },
    startActiveSpan: sdk.startActiveSpan.bind(sdk),
  };
}

class LightSpan implements Span, ToldSpan {
  name: string;
  status: SpanStatus = { code: SpanStatusCode.UNSET };
  endTime: HrTime = [0, 0];
  readonly kind: ToldSpan["kind"];
  readonly startTime: HrTime;
  readonly attributes: Attributes;
  readonly links: Link[];
  readonly parentSpanContext: SpanContext;
  readonly droppedAttributesCount = 0;
  readonly #own: SpanContext;
  readonly #init: LightSpansInit;
  #isOver = false;

  constructor(
    name: string,
    own: SpanContext,
    parent: SpanContext,
    options: SpanOptions,
    init: LightSpansInit,
  ) {
    this.name = name;
    this.kind = options.kind ?? SpanKind.INTERNAL;
    this.startTime = timeOf(options.startTime);
    this.attributes = { ...options.attributes };
    this.links = [...(options.links ?? [])];
    this.parentSpanContext = parent;
    this.#own = own;
    this.#init = init;
  }
  get resource() {
    return this.#init.origin.resource;
  }
  get instrumentationScope() {
    return this.#init.origin.instrumentationScope;
  }
  spanContext(): SpanContext {
    return this.#own;
  }
  isRecording(): boolean {
    return !this.#isOver;
  }
  setAttribute(key: string, value: AttributeValue): this {
    this.attributes[key] = value;
    return this;
  }
  setAttributes(attributes: Attributes): this {
    Object.assign(this.attributes, attributes);
    return this;
  }
  setStatus(status: SpanStatus): this {
    this.status = status;
    return this;
  }
  updateName(name: string): this {
    this.name = name;
    return this;
  }
  addLink(link: Link): this {
    this.links.push(link);
    return this;
  }
  addLinks(links: Link[]): this {
    this.links.push(...links);
    return this;
  }
  /** Nothing here has events, and nothing tells of them. */
  addEvent(): this {
    return this;
  }
  recordException(): void {}
  end(time?: TimeInput): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.endTime = later(this.startTime, timeOf(time));
    this.#init.onEnd(this);
  }
}

/** Milliseconds since the epoch, as every time here is, become seconds and nanoseconds. */
function timeOf(time: TimeInput = epochMillis()): HrTime {
  if (Array.isArray(time)) return time;
  const millis = Number(time);
  const seconds = Math.floor(millis / 1000);
  return [seconds, Math.min(999_999_999, Math.round((millis - seconds * 1000) * 1e6))];
}

const later = (one: HrTime, other: HrTime): HrTime =>
  other[0] > one[0] || (other[0] === one[0] && other[1] > one[1]) ? other : one;
