/** The spans of one run: `export <pipeline>`, a child for each stage, and the pages' journeys. */
import type { Attributes, Context, Span, Tracer } from "@opentelemetry/api";
import { kindOf, PipelineError } from "../errors.ts";
import { epochMillis } from "./epoch-millis.ts";
import { attributes, clientStages, spans } from "./names.ts";
import { SpanKind, SpanStatusCode, trace } from "./packages.ts";
import { createPageSpans } from "./page-spans.ts";
import type { StageInfo, StageListener, StageSummary, StageWatch } from "./stage-watch.ts";
import { formatTraceparent, parseTraceparent } from "./traceparent.ts";

export interface RunSpans extends StageListener {
  /** Null when the sampler left the trace out. */
  readonly traceId: string | null;
  readonly traceparent: string | null;
  end(facts: Attributes, error?: { readonly reason: unknown }): void;
}

export interface RunSpansInit {
  readonly tracer: Tracer;
  readonly parent: Context;
  readonly pipeline: string;
  readonly attributes: Attributes;
  /** The traceparent of the attempt this run goes on with. */
  readonly resumed: string | undefined;
}

export function startRunSpans({ tracer, parent, pipeline, ...init }: RunSpansInit): RunSpans {
  const linked = parseTraceparent(init.resumed);
  const run = tracer.startSpan(
    `${spans.run.name} ${pipeline}`,
    {
      startTime: epochMillis(),
      attributes: init.attributes,
      links: linked ? [{ context: linked }] : [],
    },
    parent,
  );
  const inRun = trace.setSpan(parent, run);
  const sampled = (run.spanContext().traceFlags & 1) === 1;
  const pages = sampled ? createPageSpans(tracer, inRun) : undefined;
  const stages = new Map<StageWatch, Span>();
  let first: { readonly reason: unknown } | undefined;

  return {
    traceId: sampled ? run.spanContext().traceId : null,
    traceparent: sampled ? formatTraceparent(run.spanContext()) : null,
    opened: (stage) => void stages.set(stage, startStage(tracer, inRun, stage.info)),
    took: (stage, item) => pages?.took(stage.info, item),
    gave: (stage, item) => pages?.gave(stage.info, item),
    closed(stage, error) {
      const span = stages.get(stage);
      if (!span) return;
      // An error passes through every later stage; only the first one to show it is its origin.
      if (error && first?.reason !== error.reason) setError(span, error.reason);
      first ??= error;
      span.setAttributes(attributesOf(stage.stats())).end(epochMillis());
      stages.delete(stage);
    },
    end(facts, error) {
      run.setAttribute(attributes.pagesCutShort.name, pages?.cutShort ?? 0);
      pages?.abort();
      for (const [stage, span] of stages)
        span.setAttributes(attributesOf(stage.stats())).end(epochMillis());
      stages.clear();
      if (error) setError(run, error.reason);
      run.setAttributes(facts).end(epochMillis());
    },
  };
}

function startStage(tracer: Tracer, run: Context, { name }: StageInfo): Span {
  const client = clientStages[name];
  return tracer.startSpan(
    `${spans.stage.name} ${name}`,
    {
      startTime: epochMillis(),
      kind: client ? SpanKind.CLIENT : SpanKind.INTERNAL,
      attributes: { [attributes.stage.name]: name, ...client },
    },
    run,
  );
}

function attributesOf(stats: StageSummary): Attributes {
  return {
    [attributes.stageRows.name]: stats.rows,
    [attributes.stageBytes.name]: stats.bytes,
    [attributes.busy.name]: stats.busySeconds,
    [attributes.starved.name]: stats.starvedSeconds,
    [attributes.blocked.name]: stats.blockedSeconds,
    [attributes.peakHeld.name]: stats.peakHeldBytes,
  };
}

/** Our own messages are safe by rule; anyone else's may quote rows, so only the class of the error is told. */
function setError(span: Span, reason: unknown): void {
  const own = reason instanceof PipelineError;
  const type = own ? reason.code : reason instanceof Error ? kindOf(reason) : "_OTHER";
  span.setAttribute(attributes.errorType.name, type);
  span.setStatus({ code: SpanStatusCode.ERROR, ...(own && { message: reason.message }) });
}
