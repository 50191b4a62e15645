/**
 * `sdk: node`: all of @opentelemetry/sdk-node, which reads every `OTEL_*` variable itself and registers globally, so that
 * instrumentations of other libraries join in. It writes nothing to standard output, which belongs to the run's summary.
 */
import type { DiagLogger } from "@opentelemetry/api";
import { PipelineError, systemCode } from "../errors.ts";
import { settlesWithin } from "./deadline.ts";
import { registerExportGauges } from "./gauges.ts";
import { scope } from "./names.ts";
import { exporters, serviceAttributes, type Env } from "./otel-env.ts";
import { loadCore, loadSdkNode } from "./node-packages.ts";
import { context, diag, DiagLogLevel, metrics, propagation, trace } from "./packages.ts";
import type { Providers, StartOptions } from "./providers.ts";
import { createSpanLedger, type SpanLedger } from "./span-ledger.ts";

/**
 * Starts the full SDK with `env` as its environment.
 * @throws PipelineError `config-invalid` when the package is not installed.
 */
export async function startNode(env: Env, options: StartOptions): Promise<Providers> {
  const { startNodeSdk } = installed();
  const ledger = createSpanLedger();
  const sized = { ...env, OTEL_BSP_MAX_QUEUE_SIZE: String(options.queueSpans) };
  const sdk = withEnvironment(sized, () =>
    startNodeSdk({
      logLevel: "warn",
      resourceAttributes: serviceAttributes(env, options.version),
    }),
  );
  logToStderr(env);
  const { loggingErrorHandler, setGlobalErrorHandler } = loadCore();
  setGlobalErrorHandler(() => ledger.failed());
  // Where no spans are sent there is no queue.
  const isTraced = exporters(env, "TRACES").length > 0 || Boolean(env["OTEL_CONFIG_FILE"]);
  if (isTraced && !bookSpans(trace.getTracerProvider(), ledger, options.queueSpans)) {
    options.warn(
      "this version of @opentelemetry/sdk-node hides its queue; lost spans are not counted",
    );
  }
  const meter = metrics.getMeter(scope, options.version);
  registerExportGauges(meter, ledger);

  return {
    tracer: trace.getTracer(scope, options.version),
    meter,
    async shutdown(deadlineMillis) {
      const flushed = sdk.shutdown().catch(() => ledger.failed());
      await settlesWithin(deadlineMillis, flushed);
      setGlobalErrorHandler(loggingErrorHandler());
      for (const api of [trace, metrics, context, propagation, diag]) api.disable();
      return ledger.close();
    },
  };
}

function installed(): ReturnType<typeof loadSdkNode> {
  try {
    return loadSdkNode();
  } catch (error) {
    if (systemCode(error) !== "MODULE_NOT_FOUND") throw error;
    throw new PipelineError(
      "config-invalid",
      "telemetry.sdk: `node` needs a package that is not here; run `npm install @opentelemetry/sdk-node`",
      { cause: error },
    );
  }
}

/** The SDK reads `process.env` while it starts, and only then. */
function withEnvironment<T>(env: Env, start: () => T): T {
  const before = process.env;
  process.env = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  try {
    return start();
  } finally {
    process.env = before;
  }
}

/** Its parts tell of themselves first, and then what it is about; objects, which may hold anything, are left out. */
const write = (...words: readonly unknown[]) =>
  void process.stderr.write(
    `opentelemetry: ${words.filter((word) => typeof word === "string").join(" ")}\n`,
  );

function logToStderr(env: Env): void {
  const asked = (env["OTEL_LOG_LEVEL"] || "warn").toUpperCase();
  const [, logLevel = DiagLogLevel.WARN] =
    Object.entries(DiagLogLevel).find(([name]) => name === asked) ?? [];
  const logger: DiagLogger = {
    error: write,
    warn: write,
    info: write,
    debug: write,
    verbose: write,
  };
  diag.setLogger(logger, {
    logLevel: typeof logLevel === "number" ? logLevel : DiagLogLevel.WARN,
    suppressOverrideMessage: true,
  });
}

interface Exporter {
  export(spans: { length: number }, done: (result: { code: number }) => void): void;
}

interface Processor {
  onEnd(span: { spanContext(): { traceFlags: number } }): void;
  _exporter: Exporter;
}

/** The SDK's own public interfaces tell nobody how many spans it loses, so its parts are followed from outside. */
function bookSpans(provider: unknown, ledger: SpanLedger, capacity: number): boolean {
  const delegate = call(provider, "getDelegate");
  const processors = field(field(delegate, "_activeSpanProcessor"), "_spanProcessors");
  if (!Array.isArray(processors)) return false;
  const known = processors.filter(isProcessor);
  for (const processor of known) bookProcessor(processor, ledger, capacity);
  return known.length === processors.length;
}

/** The queue drops what comes when it is full, so we count along. */
function bookProcessor(processor: Processor, ledger: SpanLedger, capacity: number): void {
  const exporter = processor._exporter;
  const onEnd = processor.onEnd.bind(processor);
  const send = exporter.export.bind(exporter);
  let queued = 0;
  processor.onEnd = (span) => {
    if (span.spanContext().traceFlags & 1) {
      ledger.ended();
      if (queued >= capacity) ledger.settled(0, 1);
      else queued += 1;
    }
    onEnd(span);
  };
  exporter.export = (spans, done) => {
    const { length } = spans;
    queued -= length;
    send(spans, (result) => {
      const delivered = result.code === 0 ? length : 0;
      ledger.settled(delivered, length - delivered);
      done(result);
    });
  };
}

function isProcessor(value: unknown): value is Processor {
  return (
    typeof field(value, "onEnd") === "function" &&
    typeof field(field(value, "_exporter"), "export") === "function"
  );
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function call(value: unknown, name: string): unknown {
  const method = field(value, name);
  return typeof method === "function" ? Reflect.apply(method, value, []) : undefined;
}
