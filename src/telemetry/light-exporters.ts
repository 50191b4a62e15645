/** The SDK's two exporter interfaces over one OTLP client each; every span is booked as delivered or lost. */
import type { ExportResult } from "@opentelemetry/core";
import type { PushMetricExporter } from "@opentelemetry/sdk-metrics";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { OtlpClient } from "./otlp-http.ts";
import { encodeMetrics, encodeSpans } from "./otlp-json.ts";
import type { SpanLedger } from "./span-ledger.ts";

type Done = (result: ExportResult) => void;

/** The SDK's numbers for the outcome of an export. */
const success: ExportResult = { code: 0 };
const failure = (error: unknown): ExportResult => ({
  code: 1,
  error: error instanceof Error ? error : new Error("the export failed"),
});

export function createSpanExporter(client: OtlpClient, ledger: SpanLedger): SpanExporter {
  const pending = createPending();
  return {
    export(spans, done) {
      ledger.handed(spans.length);
      const work = client.post(encodeSpans(spans)).then(
        ({ rejected }) => {
          ledger.settled(spans.length, Math.min(rejected, spans.length));
          done(success);
        },
        (error: unknown) => {
          ledger.settled(spans.length, spans.length);
          ledger.failed();
          done(failure(error));
        },
      );
      pending.add(work);
    },
    forceFlush: () => pending.settled(),
    // The SDK's queue does not wait for the batch that is on its way when it shuts down.
    shutdown: () => pending.settled(),
  };
}

export function createMetricExporter(client: OtlpClient, ledger: SpanLedger): PushMetricExporter {
  const pending = createPending();
  return {
    export(metrics, done: Done) {
      const work = client.post(encodeMetrics(metrics)).then(
        () => done(success),
        (error: unknown) => {
          ledger.failed();
          done(failure(error));
        },
      );
      pending.add(work);
    },
    forceFlush: () => pending.settled(),
    shutdown: () => pending.settled(),
  };
}

/** What is on its way. */
function createPending() {
  const works = new Set<Promise<void>>();
  return {
    add(work: Promise<void>) {
      works.add(work);
      void work.finally(() => works.delete(work));
    },
    async settled() {
      await Promise.allSettled(works);
    },
  };
}
