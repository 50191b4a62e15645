/**
 * One FHIR search, page by page: the server's `next` links are followed as they are, until a page has none. Each page
 * is read as a stream; when it breaks off it is asked for again.
 */
import { PipelineError } from "../../../errors.ts";
import { createCircleWatch } from "../../circle-watch.ts";
import { TryAgain } from "../../destinations/retry.ts";
import type { Log } from "../../stage.ts";
import { BundleReader } from "./bundle-reader.ts";
import { standIn } from "./envelope.ts";
import { Harvest, type Resources, type Verdict } from "./harvest.ts";
import { readOutcome } from "./outcome.ts";
import { parseJson } from "./parse-json.ts";
import type { Resource } from "./resource-reader.ts";
import { type Asked, fhirJson, type FhirServer, readThrough } from "./server.ts";
import { turn } from "./turns.ts";

export interface Search {
  /** Below the base: `Observation`, `Patient/1/Observation`, or nothing for the whole server. */
  readonly path: string;
  readonly params: URLSearchParams;
  /** For messages: `search 1`. */
  readonly label: string;
}

export interface SearchOptions {
  /** Resources asked for in a page; the server may give fewer. */
  readonly count: number;
  readonly post: boolean;
  readonly maxRecord: number;
  readonly log: Log;
}

/** @param text as a user writes it: `Observation?code=…`; `+` stands for itself, as in dates */
export function parseSearch(text: string, label: string): Search {
  const [path = "", ...rest] = text.split("?");
  return { path, params: new URLSearchParams(rest.join("?").replaceAll("+", "%2B")), label };
}

export async function* readSearch(
  server: FhirServer,
  search: Search,
  options: SearchOptions,
  signal: AbortSignal,
): AsyncGenerator<Resources | typeof turn> {
  let asked = firstPage(server, search, options);
  const links = createCircleWatch();
  const barren = createBarrenWatch();
  const isPartial = [...search.params.keys()].some((key) => /^_(elements|summary)(:|$)/.test(key));
  for (let page = 1; ; page += 1) {
    const where = `${search.label}, page ${page}`;
    const harvest = new Harvest(where, isPartial);
    const read = () => readPage(server, { asked, page, where, harvest }, options, signal);
    const next = yield* readThrough(read, () => harvest.given, server, signal);
    server.statistics.paged(harvest.given);
    if (next === undefined) return;
    if (barren.goesOn(harvest)) throw leadsNowhere(where);
    const url = server.own(next, asked.url);
    if (links.comesAgain(url.href)) throw goesRound(where);
    asked = { url, media: fhirJson };
    yield turn;
  }
}

/** Pages in a row that bring nothing new. A few are usual where a server filters behind its paging. */
const mostBarren = 1000;

/** Notices links that are new each time and lead to empty pages, or to the page before, without an end. */
function createBarrenWatch() {
  let before = "";
  let inRow = 0;
  return {
    goesOn(harvest: Harvest): boolean {
      const contents = harvest.isBare ? before : harvest.contents();
      inRow = contents === before ? inRow + 1 : 0;
      before = contents;
      return inRow === mostBarren;
    },
  };
}

function firstPage({ base }: FhirServer, search: Search, { count, post }: SearchOptions): Asked {
  const params = new URLSearchParams(search.params);
  if (!params.has("_count")) params.set("_count", String(count));
  return searchRequest(base, { ...search, params }, post);
}

/** The request for a search's first page, or for what `_summary` makes of it. */
export function searchRequest(base: string, { path, params }: Search, post: boolean): Asked {
  const place = `${base}${path && `/${path}`}`;
  const media = fhirJson;
  if (!post) return { url: new URL(`${place}?${params.toString()}`), media };
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const url = new URL(`${place}/_search`);
  return { method: "POST", url, headers, body: params.toString(), media };
}

interface Page {
  readonly asked: Asked;
  readonly page: number;
  readonly where: string;
  readonly harvest: Harvest;
}

/** Gives the page's resources, and at its end the link to the next one. */
async function* readPage(
  server: FhirServer,
  { asked, page, where, harvest }: Page,
  { maxRecord, log }: SearchOptions,
  signal: AbortSignal,
): AsyncGenerator<Resources, string | undefined> {
  const answer = await server.ask(asked, signal).catch((error: unknown) => {
    throw page > 1 && isGone(error) ? expired(where) : error;
  });
  harvest.begin();
  const reader = new BundleReader(harvest.buffer, maxRecord, createEvents(harvest, where, log));
  try {
    for await (const piece of answer.pieces()) {
      placed(where, () => reader.push(piece));
      if (harvest.isFull) yield* harvest.take();
    }
  } catch (error) {
    // What is whole was counted, so it goes on before the rest is asked for again.
    if (error instanceof TryAgain) {
      placed(where, () => reader.flush());
      yield* harvest.take();
    }
    throw error;
  }
  const text = placed(where, () => reader.finish());
  harvest.finish();
  yield* harvest.take();
  return nextLink(text, where);
}

/** What a Bundle that is read tells its harvest. */
export function createEvents(harvest: Harvest, where: string, log: Log) {
  let hasResource = false;
  return {
    onResource() {
      if (hasResource) throw harvest.broken("two resources in one entry");
      hasResource = true;
    },
    onEntry(text: string) {
      const entry = parseJson(text) as
        { resource?: unknown; search?: { mode?: unknown } } | undefined;
      if (!hasResource || entry?.resource !== standIn)
        throw harvest.broken("an entry that holds no resource; expected one in each");
      hasResource = false;
      harvest.accept((resource) => judge(resource, entry.search?.mode, where, log));
    },
    onWhole(resource: Resource, mode: unknown) {
      harvest.accept(() => judge(resource, mode, where, log), resource);
    },
  };
}

/** What a server tells beside the data is never data; that it failed is our failure. */
function judge(resource: Resource, mode: unknown, where: string, log: Log): Verdict {
  const outcome = readOutcome(resource);
  if (outcome) {
    if (outcome.severity === "fatal" || outcome.severity === "error")
      throw failed(where, outcome.told);
    log.warn(`fhir: ${where}: the server says ${outcome.told}`);
    return "none";
  }
  return mode === "outcome" ? "none" : mode === "include" ? "include" : "match";
}

interface Envelope {
  readonly resourceType?: unknown;
  readonly entry?: unknown;
  readonly link?: unknown;
}

function nextLink(text: string, where: string): string | undefined {
  const bundle = parseJson(text) as Envelope | undefined;
  const outcome = readOutcome(bundle);
  if (outcome) throw failed(where, outcome.told);
  const { resourceType, entry = [], link = [] } = bundle ?? {};
  const isWhole = Array.isArray(entry) && entry.every((one) => one === standIn);
  if (resourceType !== "Bundle" || !isWhole || !Array.isArray(link)) {
    const told = bundle === undefined ? "broken JSON" : "not a Bundle of entries";
    throw new PipelineError("source-bad-data", `${where}: ${told}; expected a searchset Bundle`);
  }
  const next = (link as { relation?: unknown; url?: unknown }[]).filter(
    (one) => one?.relation === "next",
  );
  if (next.length === 0) return undefined;
  const [{ url } = {}] = next;
  if (next.length === 1 && typeof url === "string") return url;
  throw new PipelineError(
    "source-bad-data",
    `${where}: no link to one next page; expected one URL`,
  );
}

const isGone = (error: unknown): boolean =>
  error instanceof PipelineError && [404, 410].includes(error.details["status"] as number);

const expired = (where: string) =>
  new PipelineError(
    "source-failed",
    `${where}: the server has forgotten the pages of this search; run again: the search is made anew, and compared with what is exported already`,
  );

const goesRound = (where: string) =>
  new PipelineError(
    "source-failed",
    `${where}: the server's next links lead in a circle, so the end of the search can never be proved`,
  );

const leadsNowhere = (where: string) =>
  new PipelineError(
    "source-failed",
    `${where}: ${mostBarren.toLocaleString("en")} pages in a row brought nothing new, and there is always a next one, so the end of the search can never be proved; where the server filters behind its pages, a larger \`count\` makes fewer of them`,
  );

const failed = (where: string, told: string) =>
  new PipelineError("source-failed", `${where}: the server says ${told}; expected a whole result`);

/** Puts the place before what is wrong. */
function placed<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PipelineError) || error.message.startsWith(where)) throw error;
    throw new PipelineError(error.code, `${where}: ${error.message}`, { details: error.details });
  }
}
