/**
 * What the config and the `OTEL_*` variables together ask for, said in `OTEL_*` variables again, so that both SDKs start
 * from one truth (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
 */
import { randomUUID } from "node:crypto";

export type Env = Readonly<Record<string, string | undefined>>;

/** `telemetry` of a pipeline. */
export interface TelemetryConfig {
  readonly otlp?: string | undefined;
  readonly sdk?: "light" | "node" | undefined;
  readonly prometheus?: string | undefined;
}

export type Signal = "TRACES" | "METRICS";

/**
 * The environment telemetry starts from, or undefined when nobody asked for telemetry. Nothing is exported unless an
 * endpoint or an exporter is named; `OTEL_SDK_DISABLED` wins over everything.
 */
export function telemetryEnv(config: TelemetryConfig | undefined, env: Env): Env | undefined {
  if (env["OTEL_SDK_DISABLED"]?.trim().toLowerCase() === "true") return undefined;
  const asked: Record<string, string | undefined> = { ...env };
  if (config?.otlp) asked["OTEL_EXPORTER_OTLP_ENDPOINT"] = config.otlp;
  asked["OTEL_TRACES_EXPORTER"] ||= hasEndpoint(asked, "TRACES") ? "otlp" : "none";
  asked["OTEL_METRICS_EXPORTER"] ||= hasEndpoint(asked, "METRICS") ? "otlp" : "none";
  if (config?.prometheus) Object.assign(asked, withPrometheus(asked, config.prometheus));
  // We write no logs to OpenTelemetry; and the default detectors would put the command line, its owner and the machine id on everything.
  asked["OTEL_LOGS_EXPORTER"] ||= "none";
  asked["OTEL_NODE_RESOURCE_DETECTORS"] ||= "service";
  const byFile = config?.sdk === "node" && Boolean(asked["OTEL_CONFIG_FILE"]);
  const silent = exporters(asked, "TRACES").length + exporters(asked, "METRICS").length === 0;
  return silent && !byFile ? undefined : asked;
}

/** The exporters named for a signal; empty for `none`. */
export function exporters(env: Env, signal: Signal): string[] {
  const names = listOf(env[`OTEL_${signal}_EXPORTER`]);
  return names.includes("none") ? [] : names;
}

/** A variable that is per signal, or else for all signals. */
export function otlpSetting(env: Env, signal: Signal, name: string): string | undefined {
  return (
    env[`OTEL_EXPORTER_OTLP_${signal}_${name}`] || env[`OTEL_EXPORTER_OTLP_${name}`] || undefined
  );
}

/** The most that timers take; they are called at once for more. */
const mostCount = 2 ** 31 - 1;

/** A number of milliseconds or items; anything else than a whole number from 1 on counts as not given. */
export function countSetting(env: Env, name: string, otherwise: number): number {
  const value = Number(env[name]?.trim() || Number.NaN);
  return Number.isSafeInteger(value) && value > 0 ? Math.min(value, mostCount) : otherwise;
}

/** `key=value` pairs with percent-encoding, as OTEL_RESOURCE_ATTRIBUTES and the headers are written. */
export function pairsOf(text: string | undefined): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const entry of listOf(text)) {
    const at = entry.indexOf("=");
    if (at > 0) pairs[decodeOr(entry.slice(0, at).trim())] = decodeOr(entry.slice(at + 1).trim());
  }
  return pairs;
}

/**
 * What the service is called: OTEL_SERVICE_NAME, then OTEL_RESOURCE_ATTRIBUTES, then `spillway`. Each process is an instance
 * of its own: several run at once, and what one counts is not to be taken for another's.
 */
export function serviceAttributes(env: Env, version: string | undefined): Record<string, string> {
  const given = pairsOf(env["OTEL_RESOURCE_ATTRIBUTES"]);
  return {
    ...(version && { "service.version": version }),
    "service.instance.id": randomUUID(),
    ...given,
    "service.name": env["OTEL_SERVICE_NAME"] || given["service.name"] || "spillway",
  };
}

function decodeOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function hasEndpoint(env: Env, signal: Signal): boolean {
  return otlpSetting(env, signal, "ENDPOINT") !== undefined;
}

function withPrometheus(env: Env, listen: string): Env {
  const [, host = "", port] = address.exec(listen) ?? [];
  const named = exporters(env, "METRICS");
  return {
    OTEL_METRICS_EXPORTER: [...new Set([...named, "prometheus"])].join(","),
    OTEL_EXPORTER_PROMETHEUS_HOST: host.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1",
    OTEL_EXPORTER_PROMETHEUS_PORT: port,
  };
}

const address = /^(?:(.*):)?(\d{1,5})$/;

/** Whether it is host:port, or a port of this machine alone. */
export function isAddress(listen: string): boolean {
  const port = Number(address.exec(listen)?.[2] ?? 0);
  return port > 0 && port < 65_536;
}

function listOf(text: string | undefined): string[] {
  return (text ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
}
