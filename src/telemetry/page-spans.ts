/**
 * A page's journey as one branch of the trace: `page` from leaving `chunk` to its receipt, and in it `seal`, `spool`
 * and `upload`. A page that is dropped on the way (it is durable already) leaves no span. While too many pages wait
 * for the upload, further ones are followed from their upload on only; the run's span says how many.
 *
 * On the way only times are noted. The spans are made together at the journey's end, which costs less than half of what they
 * do one by one, with other work in between.
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

interface Journey extends AnyPage {
  readonly startMillis: number;
  readonly legs: Leg[];
  /** From the upload on: the object at the destination names it. */
  span?: Span;
}

interface Leg {
  readonly role: "seal" | "spool" | "upload";
  readonly startMillis: number;
  endMillis?: number;
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
    const { page: number, records, bytes } = page;
    const journey: Journey = { page: number, records, bytes, startMillis, legs: [] };
    journeys.set(number, journey);
    return journey;
  };
  const spanOf = (journey: Journey) => (journey.span ??= startJourney(tracer, run, journey));
  const end = (journey: Journey, outcome: "uploaded" | "aborted") => {
    const span = spanOf(journey);
    span.setAttribute(attributes.pageOutcome.name, outcome);
    endLegs(tracer, trace.setSpan(run, span), journey);
    span.end(epochMillis());
  };

  /** Told when it is sealed, and true from there to the upload, which has few pages at once and is always followed. */
  const isTooMany = (role: Role, page: AnyPage): boolean => {
    if (role === "upload" || journeys.has(page.page)) return false;
    if (role === "seal") return journeys.size >= journeysKept;
    cutShort += 1;
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
      journey.legs.push({ role, startMillis: epochMillis() });
      if (role === "upload") {
        const traceparent = formatTraceparent(spanOf(journey).spanContext());
        Object.assign(item, { traceparent } satisfies Pick<DurablePage, "traceparent">);
      }
    },
    gave(stage, item) {
      const role = roleOf(stage);
      if (role === undefined || !isPage(item)) return;
      if (role === "chunk") return noteBirth(births, item.page);
      const journey = journeys.get(item.page);
      if (!journey) return;
      if (role === "seal") return noteSeal(journey, item);
      const leg = journey.legs.find((leg) => leg.role === role);
      if (leg) leg.endMillis = epochMillis();
      if (role !== "upload") return;
      const sealedBytes = countItem("receipts", item).bytes;
      spanOf(journey).setAttribute(attributes.pageSealedBytes.name, sealedBytes);
      end(journey, "uploaded");
      journeys.delete(item.page);
    },
    abort() {
      for (const journey of journeys.values()) {
        spanOf(journey).setStatus({ code: SpanStatusCode.ERROR });
        end(journey, "aborted");
      }
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

function startJourney(tracer: Tracer, run: Context, journey: Journey): Span {
  return tracer.startSpan(
    spans.page.name,
    {
      startTime: journey.startMillis,
      attributes: {
        [attributes.pageNumber.name]: journey.page,
        [attributes.pageRecords.name]: journey.records,
        [attributes.pageBytes.name]: journey.bytes,
      },
    },
    run,
  );
}

/** The worker's own times, kept inside the page's: a worker counts in whole milliseconds. */
function noteSeal(
  { startMillis, legs }: Journey,
  { work }: AnyPage & Partial<Pick<Page, "work">>,
): void {
  if (!work) return;
  const start = Math.max(startMillis, work.startMillis);
  const endMillis = Math.max(start, Math.min(work.endMillis, epochMillis()));
  legs.push({ role: "seal", startMillis: start, endMillis });
}

/** @param context of the page's span, whose children the legs become */
function endLegs(tracer: Tracer, context: Context, { legs }: Journey): void {
  const now = epochMillis();
  for (const { role, startMillis, endMillis = now } of legs)
    tracer.startSpan(spans[role].name, { startTime: startMillis }, context).end(endMillis);
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
