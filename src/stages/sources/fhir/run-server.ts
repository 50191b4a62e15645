/** A server for the time of a source: opened, told of in the log, closed; its records as rows where they are needed. */
import type { RecordBatch, Row, RowBatch } from "../../nouns.ts";
import type { StageContext } from "../../stage.ts";
import { rowBytes } from "../input-file.ts";
import { parseExact } from "../json-values.ts";
import type { FhirServer, ServerOptions } from "./server.ts";

export async function* withServer(
  options: ServerOptions,
  { log }: Pick<StageContext, "log">,
  read: (server: FhirServer) => AsyncGenerator<RecordBatch>,
): AsyncGenerator<RecordBatch> {
  // HTTP weighs 3 MB, and is loaded where a server is asked.
  const { openServer } = await import("./server.ts");
  const server = openServer(options);
  try {
    yield* read(server);
    log.info(`fhir: ${tell(server)}`);
  } finally {
    server.close();
  }
}

function tell({ statistics }: FhirServer): string {
  const { requests, retries, pages, bytes, resourcesPerPage, latencyMillis } = statistics.report();
  const { p50 = 0, p90 = 0, p99 = 0 } = latencyMillis ?? {};
  return (
    `${requests} requests, ${retries} of them again; ${pages} pages or files of about ` +
    `${resourcesPerPage} resources; ${bytes} bytes; first byte after ${p50} ms (p50), ${p90} ms (p90), ${p99} ms (p99)`
  );
}

/** The records as JavaScript sees them, every number with its digits. */
export async function* toRows(records: AsyncIterable<RecordBatch>): AsyncGenerator<RowBatch> {
  for await (const { bytes, ends, expects, end } of records) {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const rows = Array.from(ends, (to, at) => {
      const record = text.toString("utf8", at === 0 ? 0 : ends[at - 1], to);
      return parseExact(record) as Row;
    });
    const size = rowBytes(bytes.length);
    const facts = { ...(expects && { expects }), ...(end && { end }) };
    yield { shape: "documents", columns: [], rows, bytes: size, ...facts };
  }
}
