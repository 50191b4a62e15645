/**
 * The one door to the OpenTelemetry API (1 MB), in its CommonJS form; the SDKs have doors of their own.
 *
 * Their ES modules import `http` and others by name, which runs lazy getters that load all of `fetch` (3 to 14 MB), and a
 * mixture would load the API twice.
 */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const api: typeof import("@opentelemetry/api") = require("@opentelemetry/api");
export const { context, diag, metrics, propagation, trace } = api;
export const { createTraceState, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode } = api;
