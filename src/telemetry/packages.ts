/**
 * The one door to the OpenTelemetry packages, in their CommonJS form.
 *
 * Their ES modules import `http` and others by name, which runs lazy getters that load all of `fetch` (3 to 14 MB), and a
 * mixture would load the API twice. Only the API (1 MB) is loaded here; the rest is loaded by the function that needs it.
 */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const api: typeof import("@opentelemetry/api") = require("@opentelemetry/api");
export const { context, diag, metrics, propagation, trace } = api;
export const { createTraceState, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode } = api;

export const loadCore = (): typeof import("@opentelemetry/core") => require("@opentelemetry/core");

export const loadResources = (): typeof import("@opentelemetry/resources") =>
  require("@opentelemetry/resources");

export const loadSdkTrace = (): typeof import("@opentelemetry/sdk-trace") =>
  require("@opentelemetry/sdk-trace");

export const loadSdkMetrics = (): typeof import("@opentelemetry/sdk-metrics") =>
  require("@opentelemetry/sdk-metrics");

export const loadPrometheus = (): typeof import("@opentelemetry/exporter-prometheus") =>
  require("@opentelemetry/exporter-prometheus");

/** @throws when the optional package is not installed. */
export const loadSdkNode = (): typeof import("@opentelemetry/sdk-node") =>
  require("@opentelemetry/sdk-node");
