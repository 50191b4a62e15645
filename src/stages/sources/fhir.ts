/**
 * what: the resources of FHIR searches, page by page, from any R4 server · takes nothing / gives rows (documents); NDJSON
 *   without row functions is the server's own bytes
 * holds: for each lane a batch and the resource under way, one resource parsed, and what copies are known by
 * order: the server's; where searches or windows are read in parallel they take turns by page, never by time
 * ends: a batch without rows that carries the proof, after the last page of every search; no resources are no error
 * fails: source-refused, source-bad-data: fix config or server; source-unreachable, source-failed: try again;
 *   source-changed: the server gives other data than before
 */
import * as v from "valibot";
import { count, text } from "../atoms.ts";
import type { RecordBatch } from "../nouns.ts";
import { defineStage, type RowContext } from "../stage.ts";
import { date, holdsOf, list, serverConfig } from "./fhir/config.ts";
import { toRows, withServer } from "./fhir/run-server.ts";

const search = v.pipe(
  text,
  v.regex(
    /^(?!.*\.\.)[A-Za-z0-9$._-]*(\/[A-Za-z0-9$._-]+)*(\?[^#]*)?$/,
    "expected a search such as Observation?code=29463-7, below `url`",
  ),
);

const config = v.strictObject({
  url: serverConfig.url,
  search: v.pipe(
    v.union([search, v.pipe(list(search), v.minLength(1, "expected at least one search"))]),
    v.transform((given) => (typeof given === "string" ? [given] : given)),
    v.description(
      "searches, each as it stands in a URL behind the base: `Observation?code=…&_include=…`",
    ),
  ),
  auth: serverConfig.auth,
  count: v.pipe(
    v.optional(v.pipe(count(1), v.maxValue(100_000, "expected at most 100000")), 500),
    v.description("resources to ask for in a page (`_count`)"),
  ),
  post: v.pipe(
    v.optional(v.boolean("expected true or false"), false),
    v.description("send searches in a body (`POST …/_search`), where no proxy logs them"),
  ),
  totals: v.pipe(
    v.optional(v.picklist(["check", "none"], "expected check or none"), "check"),
    v.description(
      "`check` asks `_summary=count` first, for progress, and refuses to end with fewer · `none` does not ask",
    ),
  ),
  lastUpdated: v.pipe(
    v.optional(list(date), []),
    v.check(
      (bounds) =>
        bounds.every((bound, at) => at === 0 || Date.parse(bounds[at - 1]!) < Date.parse(bound)),
      "expected ascending bounds",
    ),
    v.description(
      "ascending bounds that cut every search into windows of `_lastUpdated`, read in parallel",
    ),
  ),
  windows: v.pipe(
    v.optional(list(text), []),
    v.description(
      "parameters that cut every search into windows read in parallel, such as ranges of ids where a server has them; together they must be all of it",
    ),
  ),
  parallel: serverConfig.parallel,
  maxRecord: serverConfig.maxRecord,
  timeout: serverConfig.timeout,
});

export type FhirConfig = v.InferOutput<typeof config>;

export const fhir = defineStage({
  name: "fhir",
  summary:
    "Reads the resources of searches from a FHIR server, page by page, every digit as it wrote them.",
  config,
  takes: "nothing",
  gives: "rows",
  holds: (config) => holdsOf(lanesOf(config), config.maxRecord),
  open: (config, ctx) => toRows(readFhir(config, ctx)),
});

/** The resources as NDJSON, byte for byte as the server wrote them but for white space between tokens. */
export const readFhir = (config: FhirConfig, ctx: RowContext): AsyncGenerator<RecordBatch> =>
  withServer(config, ctx, async function* (server) {
    const { readSearches } = await import("./fhir/read-search.ts");
    yield* readSearches(server, config, ctx);
  });

/** One search that is not cut is read by one lane, whatever is allowed. */
function lanesOf({ parallel, search, lastUpdated, windows }: FhirConfig): number {
  const spans = lastUpdated.length > 0 ? lastUpdated.length + 1 : 1;
  return Math.min(parallel, search.length * spans * Math.max(1, windows.length));
}
