/**
 * Starts telemetry for a run, or nothing at all: the SDK is loaded only when the config or the environment asks for it.
 *
 * `light` keeps the memory promise, `node` loads all of @opentelemetry/sdk-node, and an application that has registered its
 * own OpenTelemetry SDK keeps it: the run then joins its traces.
 */
import type { Context, MeterProvider, ProxyTracerProvider, Tracer } from "@opentelemetry/api";
import { settlesWithin } from "./deadline.ts";
import { scope } from "./names.ts";
import { countSetting, telemetryEnv, type Env, type TelemetryConfig } from "./otel-env.ts";
import { context, createTraceState, metrics, ROOT_CONTEXT, trace } from "./packages.ts";
import type { Providers, StartOptions } from "./providers.ts";
import { parseTraceparent } from "./traceparent.ts";

export interface Telemetry extends Providers {
  /** False when nobody listens: spans and metrics are then no-ops. */
  readonly enabled: boolean;
  readonly sdk: "off" | "light" | "node" | "application";
  /** The span the run belongs under: TRACEPARENT and TRACESTATE, or the application's active span. */
  readonly parent: Context;
}

export interface TelemetryOptions {
  /** Pages the run will have, where the plan knows; sizes the queue of spans. */
  readonly pages?: number | undefined;
  readonly service?: { readonly version?: string | undefined };
  readonly log?: { warn(message: string): void };
}

/**
 * Starts telemetry as `telemetry` in the pipeline and the `OTEL_*` variables ask.
 * @throws PipelineError `config-invalid` for an endpoint that cannot be one, or when `sdk: node` is asked for and
 * @opentelemetry/sdk-node is not installed. A collector that does not answer is no error.
 */
export async function startTelemetry(
  config: TelemetryConfig | undefined,
  env: Env,
  options: TelemetryOptions = {},
): Promise<Telemetry> {
  const parent = parentOf(env);
  // There is room for one SDK that registers globally, and the application was first.
  const named = Boolean(config?.otlp || config?.prometheus) && config?.sdk !== "node";
  const version = options.service?.version;
  const applications = applicationTracer(version);
  if (applications && !named) return joinApplication(applications, version, parent);
  const asked = telemetryEnv(config, env);
  if (!asked) return off(parent);
  const start: StartOptions = {
    queueSpans: queueSpans(asked, options.pages),
    version,
    warn: (message) => options.log?.warn(message),
  };
  if (config?.sdk === "node") {
    const { startNode } = await import("./node.ts");
    return { ...(await startNode(asked, start)), enabled: true, sdk: "node", parent };
  }
  const { startLight } = await import("./light.ts");
  return { ...(await startLight(asked, start)), enabled: true, sdk: "light", parent };
}

const spansAPage = 4;
const spansARun = 64;
const leastQueueSpans = 2048;
/** About 1.5 KB each: a collector may be down for long, but memory is one number. */
const mostQueueSpans = 8192;

/** Room for every span of the run where that is little memory; what does not fit is counted, never silent. */
function queueSpans(env: Env, pages = Number.POSITIVE_INFINITY): number {
  const planned = Math.max(leastQueueSpans, pages * spansAPage + spansARun);
  return countSetting(env, "OTEL_BSP_MAX_QUEUE_SIZE", Math.min(planned, mostQueueSpans));
}

function off(parent: Context): Telemetry {
  return { ...noop(undefined), enabled: false, sdk: "off", parent };
}

function noop(version: string | undefined): Providers {
  return {
    tracer: trace.getTracer(scope, version),
    meter: metrics.getMeter(scope, version),
    shutdown: async () => ({ droppedSpans: 0, exportErrors: 0 }),
  };
}

/** The application flushes its own spans; the metrics of a run are gone with it, before their next reading perhaps. */
function joinApplication(tracer: Tracer, version: string | undefined, parent: Context): Telemetry {
  const joined = noop(version);
  return {
    ...joined,
    tracer,
    enabled: true,
    sdk: "application",
    parent,
    async shutdown(deadlineMillis) {
      const provider: MeterProvider & { forceFlush?(): Promise<void> } = metrics.getMeterProvider();
      if (provider.forceFlush) await settlesWithin(deadlineMillis, provider.forceFlush());
      return joined.shutdown(deadlineMillis);
    },
  };
}

/** The API's proxy knows whether somebody has registered a provider behind it. */
function applicationTracer(version: string | undefined): Tracer | undefined {
  const provider = trace.getTracerProvider();
  return isProxy(provider) ? provider.getDelegateTracer(scope, version) : undefined;
}

/** By its method, not its class: the application may have loaded another copy of the API. */
function isProxy(provider: object): provider is ProxyTracerProvider {
  return "getDelegateTracer" in provider;
}

function parentOf(env: Env): Context {
  const active = context.active();
  if (trace.getSpan(active)) return active;
  const remote = parseTraceparent(env["TRACEPARENT"]);
  if (!remote) return ROOT_CONTEXT;
  const state = env["TRACESTATE"];
  return trace.setSpanContext(
    ROOT_CONTEXT,
    state ? { ...remote, traceState: createTraceState(state) } : remote,
  );
}
