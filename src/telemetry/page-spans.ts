/**
 * A page's journey as one branch of the trace: `page` from leaving `chunk` to its receipt, and in it `seal`, `spool`
 * and `upload`. A page that is dropped on the way (it is durable already) leaves no span. While too many pages wait
 * for the upload, further ones are followed from their upload on only; the run's span says how many.
 */
import type { Context, Span, Tracer } from "@opentelemetry/api";
import type { DurablePage, Page } from "../stages/nouns.ts";
import { type AnyPage, countItem, isPage, isPaged } from "./counts.ts";
import { epochMillis } from "./epoch-millis.ts";
import { attributes, spans } from "./names.ts";
import { SpanStatusCode, trace } from "./packages.ts";
import type { StageInfo } from "./stage-watch.ts";
import { formatTraceparent } from "./traceparent.ts";

export interface PageSpans {
  took(stage: StageInfo, item: unknown): void;
  gave(stage: StageInfo, item: unknown): void;
  /** Pages whose way before the upload was not followed, because too many were open. */
  readonly cutShort: number;
  /** Ends what is still open as aborted. */
  abort(): void;
}

interface Journey {
  readonly span: Span;
  readonly context: Context;
  readonly startMillis: number;
  /** Under way now. */
  readonly legs: { spool?: Span; upload?: Span };
}

/** More pages than this never wait between `chunk` and the next stage; older ones were dropped there. */
const birthsKept = 1024;

/** Open journeys cost memory, and a spool may hold any number of pages. */
const journeysKept = 1024;

/** @param run the context of the run's span, whose children the pages become */
export function createPageSpans(tracer: Tracer, run: Context): PageSpans {
  const births = new Map<number, number>();
  const journeys = new Map<number, Journey>();
  let cutShort = 0;

  const journeyOf = (page: AnyPage): Journey => {
    const known = journeys.get(page.page);
    if (known) return known;
    const startMillis = births.get(page.page) ?? epochMillis();
    forgetBirths(births, page.page);
    const journey = startJourney(tracer, run, page, startMillis);
    journeys.set(page.page, journey);
    return journey;
  };

  /** The upload has few pages at once: it is always followed. */
  const isTooMany = (role: Role, page: AnyPage): boolean => {
    if (role === "upload" || journeys.has(page.page) || journeys.size < journeysKept) return false;
    if (role === "spool") cutShort += 1;
    return true;
  };

  return {
    get cutShort() {
      return cutShort;
    },
    took(stage, item) {
      const role = roleOf(stage);
      if (role === undefined || role === "chunk" || !isPage(item)) return;
      if (isTooMany(role, item)) return;
      const journey = journeyOf(item);
      if (role === "seal") return;
      journey.legs[role] = startLeg(tracer, journey, role);
      if (role === "upload") {
        const traceparent = formatTraceparent(journey.span.spanContext());
        Object.assign(item, { traceparent } satisfies Pick<DurablePage, "traceparent">);
      }
    },
    gave(stage, item) {
      const role = roleOf(stage);
      if (role === undefined || !isPage(item)) return;
      if (role === "chunk") return noteBirth(births, item.page);
      const journey = journeys.get(item.page);
      if (!journey) return;
      if (role === "seal") return sealLeg(tracer, journey, item);
      endLeg(journey, role);
      if (role !== "upload") return;
      endJourney(journey, countItem("receipts", item).bytes);
      journeys.delete(item.page);
    },
    abort() {
      for (const journey of journeys.values()) abortJourney(journey);
      journeys.clear();
    },
  };
}

type Role = "chunk" | "seal" | "spool" | "upload";

/** What a stage does to pages follows from what it takes and gives, whatever it is called. */
function roleOf({ takes, gives }: StageInfo): Role | undefined {
  if (gives === "pages") return isPaged(takes) ? undefined : "chunk";
  if (gives === "frames" || gives === "sealed") return "seal";
  if (gives === "durable") return "spool";
  return gives === "receipts" ? "upload" : undefined;
}

function startJourney(tracer: Tracer, run: Context, page: AnyPage, startMillis: number): Journey {
  const span = tracer.startSpan(
    spans.page.name,
    {
      startTime: startMillis,
      attributes: {
        [attributes.pageNumber.name]: page.page,
        [attributes.pageRecords.name]: page.records,
        [attributes.pageBytes.name]: page.bytes,
      },
    },
    run,
  );
  return { span, context: trace.setSpan(run, span), startMillis, legs: {} };
}

function startLeg(tracer: Tracer, journey: Journey, role: "spool" | "upload"): Span {
  return tracer.startSpan(spans[role].name, { startTime: epochMillis() }, journey.context);
}

function endLeg(journey: Journey, role: "spool" | "upload"): void {
  journey.legs[role]?.end(epochMillis());
  delete journey.legs[role];
}

/** The worker's own times, kept inside the page's: a worker counts in whole milliseconds. */
function sealLeg(
  tracer: Tracer,
  journey: Journey,
  { work }: AnyPage & Partial<Pick<Page, "work">>,
): void {
  if (!work) return;
  const startTime = Math.max(journey.startMillis, work.startMillis);
  const endTime = Math.max(startTime, Math.min(work.endMillis, epochMillis()));
  tracer.startSpan(spans.seal.name, { startTime }, journey.context).end(endTime);
}

function endJourney(journey: Journey, sealedBytes: number): void {
  journey.span.setAttribute(attributes.pageSealedBytes.name, sealedBytes);
  journey.span.setAttribute(attributes.pageOutcome.name, "uploaded");
  journey.span.end(epochMillis());
}

function abortJourney({ span, legs }: Journey): void {
  const now = epochMillis();
  for (const leg of Object.values(legs)) leg.end(now);
  span.setAttribute(attributes.pageOutcome.name, "aborted");
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.end(now);
}

function noteBirth(births: Map<number, number>, page: number): void {
  births.set(page, epochMillis());
  if (births.size <= birthsKept) return;
  const [oldest] = births.keys();
  births.delete(oldest!);
}

function forgetBirths(births: Map<number, number>, upTo: number): void {
  for (const page of births.keys()) {
    if (page > upTo) break;
    births.delete(page);
  }
}
