/** The public door of the library: everything a user may import, and nothing else. */

// Pipelines: in code, from YAML, planned, run.
export { definePipeline, type Pipeline, type Placed } from "./pipeline/define.ts";
export { loadPipeline, parsePipeline, printPipeline } from "./pipeline/load.ts";
export { planPipeline as plan, type PlanOptions } from "./pipeline/plan.ts";
export type { LedgerLine, Plan, PlannedStage, PlanReport } from "./pipeline/plan-types.ts";
export { run, type RunOptions } from "./pipeline/run.ts";
export { scale, type ScaleOptions, type ScaleReport } from "./pipeline/scale.ts";
export type { PipelineSpec, StageSpec, TelemetryConfig } from "./pipeline/spec.ts";
export type { Progress, RunState, RunSummary, StageSummary } from "./pipeline/summary.ts";

// Sources.
export { csv } from "./stages/sources/csv.ts";
export { duckdb } from "./stages/sources/duckdb.ts";
export { fhirBulk } from "./stages/sources/fhir-bulk.ts";
export { fhir } from "./stages/sources/fhir.ts";
export { json } from "./stages/sources/json.ts";
export { mysql } from "./stages/sources/mysql.ts";
export { ndjson } from "./stages/sources/ndjson.ts";
export { postgres } from "./stages/sources/postgres.ts";
export { postgresCopy } from "./stages/sources/postgres-copy.ts";
export { sqlite } from "./stages/sources/sqlite.ts";
export { tar } from "./stages/sources/tar.ts";

// Rows on the way.
export { filter } from "./stages/transforms/filter.ts";
export { lookup } from "./stages/transforms/lookup.ts";
export { map } from "./stages/transforms/map.ts";
export { select } from "./stages/transforms/select.ts";

// Records, pages, receipts.
export { serialize } from "./stages/formats/serialize.ts";
export { chunk } from "./stages/pages/chunk.ts";
export { compress } from "./stages/pages/compress.ts";
export { encrypt } from "./stages/pages/encrypt.ts";
export { spool } from "./stages/pages/spool.ts";
export { upload } from "./stages/pages/upload.ts";

// Stages of one's own.
export { defineStage, type Stage, type StageContext, type StageUse } from "./stages/stage.ts";
export type { AnyStage, Log, StageDefinition, WorkContext } from "./stages/stage.ts";
export { defineTransform, type TransformDefinition } from "./stages/transforms/define-transform.ts";
export type { RowFunction } from "./stages/transforms/row-functions.ts";
export type { RowWork } from "./stages/transforms/row-work.ts";
export type { Column, Consistency, Kind, Kinds, Page, Receipt, Row } from "./stages/nouns.ts";
export type { RecordBatch, RowBatch, SourceEnd } from "./stages/nouns.ts";

// Reading back.
export { readExport, type ReadExportOptions } from "./readback/read-export.ts";
export { readPages, type ReadPage } from "./readback/read-pages.ts";
export type { ReadOptions } from "./readback/find-run.ts";
export { verifyExport, type VerifyOptions, type VerifyReport } from "./readback/verify.ts";
export type { VerifyLevel, VerifyProgress } from "./readback/verify.ts";
export type { FilesTarget } from "./readback/restore-files.ts";
export type { TableTarget } from "./readback/restore-table.ts";
export { restoreExport, type RestoreOptions, type RestoreSummary } from "./readback/restore.ts";
export type { RestoredFile } from "./readback/value-files.ts";
export { listExports, type ListedExport } from "./readback/list-exports.ts";

// Errors.
export { PipelineError, errorCodes, type ErrorCode, type Remedy } from "./errors.ts";
