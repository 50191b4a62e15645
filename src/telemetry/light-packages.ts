/** The one door to the packages that `sdk: light` is made of, in their CommonJS form (`packages.ts` says why). */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const loadResources = (): typeof import("@opentelemetry/resources") =>
  require("@opentelemetry/resources");

export const loadSdkTrace = (): typeof import("@opentelemetry/sdk-trace") =>
  require("@opentelemetry/sdk-trace");

export const loadSdkMetrics = (): typeof import("@opentelemetry/sdk-metrics") =>
  require("@opentelemetry/sdk-metrics");

export const loadPrometheus = (): typeof import("@opentelemetry/exporter-prometheus") =>
  require("@opentelemetry/exporter-prometheus");
