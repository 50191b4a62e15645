/**
 * The files of a bulk export as records: data by type, then what was deleted, then what the server could not export.
 * Nothing is dropped: deletions are Bundles and errors OperationOutcomes, records like any other.
 */
import { PipelineError } from "../../../errors.ts";
import type { RecordBatch } from "../../nouns.ts";
import type { RowContext } from "../../stage.ts";
import { digestQuery } from "../input-file.ts";
import {
  awaitManifest,
  type ExportFile,
  type ExportManifest,
  type ExportRequest,
  findExport,
  type Memory,
} from "./export.ts";
import type { Verdict } from "./harvest.ts";
import { type BulkFile, readLines } from "./lines.ts";
import { readOutcome } from "./outcome.ts";
import { createRecordMaker, type RecordMaker } from "./records.ts";
import type { Resource } from "./resource-reader.ts";
import type { FhirServer } from "./server.ts";
import { takeTurns, type Lane } from "./turns.ts";

export interface ExportConfig extends ExportRequest {
  readonly parallel: number;
  readonly maxRecord: number;
}

/** Files that are read together: of one kind and type. */
interface Group {
  readonly kind: "output" | "deleted" | "error";
  readonly files: readonly BulkFile[];
}

export async function* readExport(
  server: FhirServer,
  config: ExportConfig,
  memory: Memory,
  { signal, log }: RowContext,
): AsyncGenerator<RecordBatch> {
  const found = await findExport(server, config, memory, signal);
  const manifest = await awaitManifest(server, found, { ...config, log }, signal);
  const records = createRecordMaker();
  const sums = { output: 0, deleted: 0, error: 0 };
  let outcomes = 0;
  const judge = (resource: Resource): Verdict => {
    if (readOutcome(resource)) outcomes += 1;
    return "match";
  };
  let first = expectation(manifest);
  for (const { kind, files } of groupFiles(server, manifest)) {
    const lanes = files.map(
      (file): Lane<never> =>
        (wanted) =>
          readLines(server, file, config.maxRecord, judge, wanted) as ReturnType<Lane<never>>,
    );
    const before = records.rows;
    for await (const resources of takeTurns(lanes, config.parallel, signal)) {
      const batch = records.make(resources);
      if (!batch) continue;
      yield { ...batch, ...first };
      first = {};
    }
    sums[kind] += records.rows - before;
  }
  if (outcomes > 0)
    log.warn(
      `fhir: the server reports ${outcomes} problems of its export; they are records of the type OperationOutcome`,
    );
  yield { ...records.end(prove(server, config, { manifest, records, sums })), ...first };
}

/** In the order of types and, within one, of the manifest. */
function* groupFiles(server: FhirServer, manifest: ExportManifest): Generator<Group> {
  let number = 0;
  for (const kind of ["output", "deleted", "error"] as const) {
    const files = manifest[kind];
    const types = [...new Set(files.map(({ type }) => type))].toSorted();
    for (const type of types) {
      const ofType = files.filter((file) => file.type === type);
      yield {
        kind,
        files: ofType.map((file) => place(server, file, manifest, (number += 1))),
      };
    }
  }
}

/** A file elsewhere is read without credentials, or not at all. */
function place(
  server: FhirServer,
  { type, url, count }: ExportFile,
  { requiresAccessToken }: ExportManifest,
  number: number,
): BulkFile {
  const known = /^[A-Z][A-Za-z]{1,60}$/.test(type) ? type : "of an unknown type";
  const label = `file ${number} (${known})`;
  if (requiresAccessToken)
    return { url: server.own(url, new URL(server.base)), anonymous: false, count, label };
  if (URL.canParse(url, server.base))
    return { url: new URL(url, server.base), anonymous: true, count, label };
  throw new PipelineError("source-bad-data", `${label}: its address is none; expected a URL`);
}

function expectation({ output, deleted, error }: ExportManifest): Pick<RecordBatch, "expects"> {
  const counts = [...output, ...deleted, ...error].map(({ count }) => count);
  const rows = counts.reduce<number>((sum, count) => sum + (count ?? Number.NaN), 0);
  return Number.isNaN(rows) ? {} : { expects: { rows, exact: true } };
}

interface Ended {
  readonly manifest: ExportManifest;
  readonly records: RecordMaker;
  readonly sums: Readonly<Record<Group["kind"], number>>;
}

function prove(server: FhirServer, config: ExportConfig, { manifest, records, sums }: Ended) {
  const { rows, duplicates, allRemembered } = records;
  const proof = {
    transactionTime: manifest.transactionTime,
    output: sums.output,
    deleted: sums.deleted,
    error: sums.error,
    duplicatesCut: duplicates,
    allRemembered,
  };
  const naming = [...config.export.split("/", 1), ...config.types];
  return {
    rows,
    consistency: { class: "snapshot" as const, proof },
    queryDigest: digestQuery("fhir-export", server.base, ...naming),
  };
}
