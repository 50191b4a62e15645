/** The searches of a run: counted first, read in turns, and the count held against what came. */
import { PipelineError } from "../../../errors.ts";
import type { RecordBatch, SourceEnd } from "../../nouns.ts";
import type { RowContext } from "../../stage.ts";
import { digestQuery } from "../input-file.ts";
import { countSearches, type Counted } from "./count.ts";
import type { Resources } from "./harvest.ts";
import { createRecordMaker, type RecordMaker } from "./records.ts";
import { parseSearch, readSearch, type Search, type SearchOptions } from "./search.ts";
import type { FhirServer } from "./server.ts";
import { takeTurns, turn, type Lane } from "./turns.ts";

export interface SearchConfig {
  readonly search: readonly string[];
  /** Dates that cut every search into windows of `_lastUpdated`. */
  readonly lastUpdated: readonly string[];
  /** Parameters that cut every search into windows, such as ranges of ids where a server has them. */
  readonly windows: readonly string[];
  readonly parallel: number;
  readonly totals: "check" | "none";
  readonly count: number;
  readonly post: boolean;
  readonly maxRecord: number;
}

export async function* readSearches(
  server: FhirServer,
  config: SearchConfig,
  { signal, log }: RowContext,
): AsyncGenerator<RecordBatch> {
  const searches = config.search.map((text, at) => parseSearch(text, `search ${at + 1}`));
  const counted = await countIfAsked(server, searches, config, signal);
  const windows = searches.flatMap((search) =>
    cutSearch(search, config).map((window) => [window, search.label] as const),
  );
  const options: SearchOptions = { ...config, log };
  const lanes = windows.map(
    ([window, label]): Lane<Found> =>
      (wanted) =>
        withLabel(readSearch(server, window, options, wanted), label),
  );
  const records = createRecordMaker();
  const total = counted?.total;
  const overlap = mayOverlap(searches);
  const exact = !includes(searches) && !overlap;
  let first = total === undefined ? {} : { expects: { rows: total, exact } };
  for await (const { resources, label } of takeTurns(lanes, config.parallel, signal)) {
    const batch = records.make(resources, overlap ? label : undefined);
    if (!batch) continue;
    yield { ...batch, ...first };
    first = {};
  }
  if (total !== undefined && records.answers < total)
    await requireSameCount(server, searches, { config, total, given: records.answers }, signal);
  yield { ...records.end(proveEnd(server, searches, { total, records })), ...first };
}

interface Found {
  readonly resources: Resources;
  /** Of the search that found them. */
  readonly label: string;
}

async function* withLabel(
  items: ReturnType<typeof readSearch>,
  label: string,
): AsyncGenerator<Found | typeof turn> {
  for await (const item of items) yield item === turn ? turn : { resources: item, label };
}

/** Whether two searches may find the same resource, which is counted for each of them. */
function mayOverlap(searches: readonly Search[]): boolean {
  const types = searches.map(({ path }) => path.split("/").at(-1) ?? "");
  const ofAnyType = types.some((type) => !/^[A-Z]/.test(type));
  return searches.length > 1 && (ofAnyType || new Set(types).size < types.length);
}

const includes = (searches: readonly Search[]): boolean =>
  searches.some(({ path, params }) =>
    [...params.keys(), path].some((key) => /^_(rev)?include|\$/.test(key) || key.includes("$")),
  );

async function countIfAsked(
  server: FhirServer,
  searches: readonly Search[],
  { totals, post }: SearchConfig,
  signal: AbortSignal,
): Promise<Counted | undefined> {
  if (totals === "none") return undefined;
  return countSearches(server, searches, post, signal).catch((error: unknown) => {
    throw isUncounted(error) ? uncounted(error) : error;
  });
}

/** Refused for what was asked, not for who asks or where. */
const isUncounted = (error: unknown): error is PipelineError =>
  error instanceof PipelineError &&
  [400, 405, 406, 422, 501].includes(error.details["status"] as number);

const uncounted = ({ code, message, details }: PipelineError) =>
  new PipelineError(
    code,
    `${message} (it was asked to count; a server that cannot is read with \`totals: none\`)`,
    { details },
  );

/** The windows of a search, which together are all of it: every span of dates in every window of parameters. */
function cutSearch(search: Search, { lastUpdated, windows }: SearchConfig): Search[] {
  if (lastUpdated.length + windows.length === 0) return [search];
  const own = windows.map((window) => [...parseSearch(`?${window}`, "").params]);
  const cuts = (own.length > 0 ? own : [[]]).flatMap((window) =>
    spansOf(lastUpdated).map((span) => [...window, ...span]),
  );
  return cuts.map((cut, at) => {
    const params = new URLSearchParams(search.params);
    for (const [name = "", value = ""] of cut) params.append(name, value);
    return { ...search, params, label: `${search.label}, window ${at + 1}` };
  });
}

/** Before the first bound, between bounds, from the last on; without bounds all time. */
function spansOf(bounds: readonly string[]): string[][][] {
  if (bounds.length === 0) return [[]];
  const later = bounds.map((bound, at) => [
    ["_lastUpdated", `ge${bound}`],
    ...(at + 1 < bounds.length ? [["_lastUpdated", `lt${bounds[at + 1]}`]] : []),
  ]);
  return [[["_lastUpdated", `lt${bounds[0]}`]], ...later];
}

interface Short {
  readonly config: SearchConfig;
  readonly total: number;
  readonly given: number;
}

/** Fewer resources than counted are a loss, unless the server by now counts no more than it gave. */
async function requireSameCount(
  server: FhirServer,
  searches: readonly Search[],
  { config, total, given }: Short,
  signal: AbortSignal,
): Promise<void> {
  const now = await countSearches(server, searches, config.post, signal);
  if (now.total !== undefined && given >= now.total) return;
  const after = now.total === undefined ? "gives no total after" : `${now.total} after`;
  throw new PipelineError(
    "source-failed",
    `the server counts ${total} resources before and ${after}, but gave ${given}; expected all of them (some deleted meanwhile? windows that leave some out? a server that counts what it may not show is read with \`totals: none\`)`,
  );
}

interface Ended {
  readonly total: number | undefined;
  readonly records: RecordMaker;
}

function proveEnd(server: FhirServer, searches: readonly Search[], ended: Ended): SourceEnd {
  const { rows, matches, duplicates, allRemembered } = ended.records;
  const proof = {
    matches,
    included: rows - matches,
    duplicatesCut: duplicates,
    allRemembered,
    total: ended.total ?? null,
  };
  // Values may be people's data: what is published speaks of types and names of parameters alone.
  const naming = searches.flatMap(({ path, params }) => [
    path.split("/")[0] ?? "",
    ...params.keys(),
  ]);
  return {
    rows,
    consistency: { class: "stream", proof },
    queryDigest: digestQuery("fhir", server.base, ...naming),
  };
}
