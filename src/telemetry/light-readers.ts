/** Who reads the metrics: OTLP at an interval, Prometheus when it asks. */
import type { IMetricReader } from "@opentelemetry/sdk-metrics";
import { createMetricExporter } from "./metric-exporter.ts";
import { countSetting, exporters, type Env } from "./otel-env.ts";
import type { OtlpClient } from "./otlp-http.ts";
import { loadPrometheus, loadSdkMetrics } from "./light-packages.ts";
import type { SpanLedger } from "./span-ledger.ts";

/** @param client makes the OTLP client, called only when metrics go by OTLP */
export async function startReaders(
  env: Env,
  client: () => OtlpClient,
  ledger: SpanLedger,
  warn: (message: string) => void,
): Promise<IMetricReader[]> {
  const named = exporters(env, "METRICS");
  const readers: IMetricReader[] = [];
  if (named.includes("otlp")) {
    const everyMillis = countSetting(env, "OTEL_METRIC_EXPORT_INTERVAL", 60_000);
    const timeoutMillis = countSetting(env, "OTEL_METRIC_EXPORT_TIMEOUT", 30_000);
    readers.push(
      new (loadSdkMetrics().PeriodicExportingMetricReader)({
        exporter: createMetricExporter(client(), ledger),
        exportIntervalMillis: everyMillis,
        exportTimeoutMillis: Math.min(everyMillis, timeoutMillis),
      }),
    );
  }
  if (named.includes("prometheus")) readers.push(await servePrometheus(env, warn));
  return readers;
}

/** Serves `/metrics`; a port that is taken is no reason to stop an export. */
async function servePrometheus(env: Env, warn: (message: string) => void): Promise<IMetricReader> {
  const host = env["OTEL_EXPORTER_PROMETHEUS_HOST"] || "127.0.0.1";
  const port = countSetting(env, "OTEL_EXPORTER_PROMETHEUS_PORT", 9464);
  const server = new (loadPrometheus().PrometheusExporter)({
    host,
    port,
    preventServerStart: true,
  });
  await server.startServer().catch(() => {
    warn(`telemetry.prometheus: cannot listen on port ${port}; metrics are not served`);
  });
  return server;
}
