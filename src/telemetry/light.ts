/**
 * `sdk: light`: the SDK's core packages and a thin OTLP/HTTP-JSON exporter. Same API, names and `OTEL_*` variables as the
 * full SDK at a third of its memory. Providers are ours alone: nothing global is registered.
 */
import { settlesWithin } from "./deadline.ts";
import { registerExportGauges } from "./gauges.ts";
import { createIds } from "./light-ids.ts";
import { createLightTracer } from "./light-spans.ts";
import { startReaders } from "./light-readers.ts";
import { neverSample, samplerOf } from "./light-sampler.ts";
import { scope } from "./names.ts";
import {
  countSetting,
  exporters,
  otlpSetting,
  serviceAttributes,
  type Env,
  type Signal,
} from "./otel-env.ts";
import { endpointOf } from "./otlp-endpoint.ts";
import { createOtlpClient, type OtlpClient } from "./otlp-http.ts";
import { loadResources, loadSdkMetrics, loadSdkTrace } from "./light-packages.ts";
import type { Providers, StartOptions } from "./providers.ts";
import { createSpanLedger } from "./span-ledger.ts";
import { createSpanQueue } from "./span-queue.ts";

/**
 * Starts tracing and metrics as `env` says.
 * @throws PipelineError `config-invalid` when an endpoint is not an http(s) URL.
 */
export async function startLight(env: Env, options: StartOptions): Promise<Providers> {
  warnOfUnknown(env, options.warn);
  const ledger = createSpanLedger();
  const clients: OtlpClient[] = [];
  const clientOf = (signal: Signal) => {
    const client = createOtlpClient(endpointOf(env, signal));
    clients.push(client);
    return client;
  };
  const { defaultResource, resourceFromAttributes } = loadResources();
  const resource = defaultResource().merge(
    resourceFromAttributes(serviceAttributes(env, options.version)),
  );
  const queue = exporters(env, "TRACES").includes("otlp")
    ? createSpanQueue({
        client: clientOf("TRACES"),
        ledger,
        queueSpans: options.queueSpans,
        // A queue that is smaller would be full before anything of it was sent.
        batchSpans: Math.min(
          options.queueSpans,
          countSetting(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
        ),
        delayMillis: countSetting(env, "OTEL_BSP_SCHEDULE_DELAY", 5000),
      })
    : undefined;
  const sampler = queue ? samplerOf(env, options.warn) : neverSample();
  const readers = await startReaders(env, () => clientOf("METRICS"), ledger, options.warn);
  const ids = createIds();
  const tracers = new (loadSdkTrace().TracerProvider)({
    resource,
    sampler,
    spanProcessors: queue ? [queue] : [],
    idGenerator: ids,
  });
  const sdk = tracers.getTracer(scope, options.version);
  const { version } = options;
  const instrumentationScope = { name: scope, ...(version !== undefined && { version }) };
  const origin = { resource, instrumentationScope };
  const meters = new (loadSdkMetrics().MeterProvider)({ resource, readers });
  const meter = meters.getMeter(scope, options.version);
  registerExportGauges(meter, ledger);

  return {
    tracer: queue
      ? createLightTracer({ sdk, ids, origin, onEnd: (span) => queue.onEnd(span) })
      : sdk,
    meter,
    async shutdown(deadlineMillis) {
      for (const client of clients) client.hurry();
      const flushed = Promise.allSettled([tracers.shutdown(), meters.shutdown()]);
      const inTime = await settlesWithin(deadlineMillis, flushed);
      for (const client of clients) client.close();
      // Requests that were just given up settle at once and are booked as lost.
      if (!inTime) await settlesWithin(lastWordMillis, flushed);
      return ledger.close();
    },
  };
}

const lastWordMillis = 100;

function warnOfUnknown(env: Env, warn: StartOptions["warn"]): void {
  for (const signal of ["TRACES", "METRICS"] as const) {
    const protocol = otlpSetting(env, signal, "PROTOCOL") ?? "http/json";
    if (protocol !== "http/json" && exporters(env, signal).includes("otlp")) {
      warn(
        `OTLP ${signal.toLowerCase()}: \`sdk: light\` speaks http/json, not ${protocol}; ` +
          "use `sdk: node` for it",
      );
    }
    const known = signal === "TRACES" ? ["otlp"] : ["otlp", "prometheus"];
    for (const name of exporters(env, signal).filter((name) => !known.includes(name))) {
      warn(`OTEL_${signal}_EXPORTER: \`sdk: light\` has no \`${name}\`; use \`sdk: node\` for it`);
    }
  }
  for (const [name, value] of Object.entries(env)) {
    if (value && notHere.test(name) && value.trim().toLowerCase() !== "cumulative")
      warn(`${name}: \`sdk: light\` does not know it; use \`sdk: node\` for it`);
  }
}

/** Variables that would change who is believed at a collector, or what its numbers mean. */
const notHere =
  /^OTEL_(?:CONFIG_FILE|EXPORTER_OTLP_(?:(?:TRACES_|METRICS_)?CLIENT_(?:KEY|CERTIFICATE)|METRICS_TEMPORALITY_PREFERENCE))$/;
