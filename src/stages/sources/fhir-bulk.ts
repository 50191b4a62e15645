/**
 * what: the resources of a FHIR bulk export (`$export`), with what was deleted and what could not be exported · takes
 *   nothing / gives rows (documents); NDJSON without row functions is the server's own bytes
 * holds: for each file that is read a batch and the line under way, one line parsed, and what copies are known by
 * order: data by type, deletions, errors; files of one type take turns every 1000 lines, never by time
 * ends: a batch without rows that carries the proof, after the last line of every file; no files are no error
 * fails: source-refused, source-bad-data: fix config or server; source-unreachable, source-failed: try again;
 *   source-changed: the server gives other data than before, or has forgotten the export
 */
import * as v from "valibot";
import { duration, text } from "../atoms.ts";
import type { RecordBatch } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import { date, holdsOf, list, serverConfig } from "./fhir/config.ts";
import type { Memory } from "./fhir/export.ts";
import { toRows, withServer } from "./fhir/run-server.ts";

const typeName = v.pipe(text, v.regex(/^[A-Z][A-Za-z]{1,60}$/, "expected a type such as Patient"));

const config = v.strictObject({
  url: serverConfig.url,
  export: v.pipe(
    text,
    v.regex(
      /^(system|patient|Group\/[A-Za-z0-9.-]{1,64})$/,
      "expected system, patient or Group/id",
    ),
    v.description("of the whole `system`, of every `patient`, or of the patients of `Group/…`"),
  ),
  auth: serverConfig.auth,
  types: v.pipe(v.optional(list(typeName), []), v.description("types to export; all when absent")),
  typeFilters: v.pipe(
    v.optional(list(text), []),
    v.description("searches that narrow types down (`_typeFilter`), where the server has it"),
  ),
  since: v.pipe(v.optional(date), v.description("only what changed since this instant")),
  exportTimeout: v.pipe(
    v.optional(duration, "24h"),
    v.description("longest wait for the server to prepare its files"),
  ),
  parallel: serverConfig.parallel,
  maxRecord: serverConfig.maxRecord,
  timeout: serverConfig.timeout,
});

type FhirBulkConfig = v.InferOutput<typeof config>;

export const fhirBulk = defineStage({
  name: "fhir-bulk",
  summary:
    "Has a FHIR server export in bulk and reads its files, every digit as it wrote them; taken up again after a crash.",
  config,
  takes: "nothing",
  gives: "rows",
  holds: ({ parallel, maxRecord }) => holdsOf(parallel, maxRecord),
  open: (config, ctx) => toRows(readFhirBulk(config, ctx)),
  settle,
});

/** The resources as NDJSON, byte for byte as the server wrote them. */
export const readFhirBulk = (
  config: FhirBulkConfig,
  ctx: StageContext,
): AsyncGenerator<RecordBatch> =>
  withServer(config, ctx, async function* (server) {
    const { readExport } = await import("./fhir/read-export.ts");
    yield* readExport(server, config, memoryOf(ctx), ctx);
  });

const memoryOf = ({ spool }: StageContext): Memory => ({
  read: () => spool.readNote(),
  write: (statusUrl) => spool.writeNote(statusUrl),
});

/** Everything is durable: the server may remove its files. */
async function settle(config: FhirBulkConfig, ctx: StageContext): Promise<void> {
  const statusUrl = await memoryOf(ctx).read();
  if (statusUrl === undefined) return;
  const [{ openServer }, { removeExport }] = await Promise.all([
    import("./fhir/server.ts"),
    import("./fhir/export.ts"),
  ]);
  const server = openServer(config);
  try {
    await removeExport(server, statusUrl, ctx.signal);
  } catch {
    ctx.log.warn(
      "fhir-bulk: the server did not hear that its export is needed no more, and keeps it until it expires",
    );
  } finally {
    server.close();
  }
}
