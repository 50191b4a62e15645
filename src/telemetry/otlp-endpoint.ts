/** Where a signal goes, by config and `OTEL_EXPORTER_OTLP_*` (per signal first, then for all). */
import { readFileSync } from "node:fs";
import { PipelineError } from "../errors.ts";
import { countSetting, otlpSetting, pairsOf, type Env, type Signal } from "./otel-env.ts";

export interface OtlpEndpoint {
  /** With the signal's path. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** For one request with all its retries. */
  readonly timeoutMillis: number;
  readonly gzip: boolean;
  /** PEM of the authority to trust instead of the usual ones. */
  readonly certificate?: string | undefined;
}

/** @throws PipelineError `config-invalid` when the endpoint is no http(s) URL or the certificate cannot be read. */
export function endpointOf(env: Env, signal: Signal): OtlpEndpoint {
  return {
    url: urlOf(env, signal),
    headers: {
      ...pairsOf(env["OTEL_EXPORTER_OTLP_HEADERS"]),
      ...pairsOf(env[`OTEL_EXPORTER_OTLP_${signal}_HEADERS`]),
    },
    timeoutMillis: countSetting({ own: otlpSetting(env, signal, "TIMEOUT") }, "own", 10_000),
    gzip: otlpSetting(env, signal, "COMPRESSION") === "gzip",
    certificate: certificateOf(otlpSetting(env, signal, "CERTIFICATE")),
  };
}

/** Whether OTLP can be sent there. */
export const isEndpoint = (url: string): boolean =>
  /^https?:$/.test(URL.parse(url)?.protocol ?? "");

function urlOf(env: Env, signal: Signal): URL {
  const own = env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
  const base = env["OTEL_EXPORTER_OTLP_ENDPOINT"] || "http://localhost:4318";
  if (isEndpoint(own || base)) {
    const url = new URL(own || base);
    if (!own) url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/${signal.toLowerCase()}`;
    return url;
  }
  throw new PipelineError(
    "config-invalid",
    "telemetry.otlp: the OTLP endpoint is not a URL; expected one such as http://localhost:4318",
  );
}

function certificateOf(path: string | undefined): string | undefined {
  if (!path) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new PipelineError(
      "config-invalid",
      "OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read the file; expected a PEM certificate",
      { cause: error },
    );
  }
}
