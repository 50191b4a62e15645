/** The SDK's exporter of metrics over an OTLP client. */
import type { ExportResult } from "@opentelemetry/core";
import type { PushMetricExporter } from "@opentelemetry/sdk-metrics";
import type { OtlpClient } from "./otlp-http.ts";
import { encodeMetrics } from "./otlp-json.ts";
import type { SpanLedger } from "./span-ledger.ts";

type Done = (result: ExportResult) => void;

export function createMetricExporter(client: OtlpClient, ledger: SpanLedger): PushMetricExporter {
  const pending = new Set<Promise<void>>();
  const settled = async () => void (await Promise.allSettled(pending));

  const send = async (body: Uint8Array, done: Done) => {
    try {
      const { rejected } = await client.post(body);
      if (rejected > 0) throw new Error(`the collector turned ${rejected} points away`);
      done({ code: 0 });
    } catch (error) {
      ledger.failed();
      done({ code: 1, error: error instanceof Error ? error : new Error("the export failed") });
    }
  };
  return {
    export(metrics, done) {
      const work = send(Buffer.from(encodeMetrics(metrics)), done).finally(() =>
        pending.delete(work),
      );
      pending.add(work);
    },
    forceFlush: settled,
    shutdown: settled,
  };
}
