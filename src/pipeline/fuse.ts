/** Makes one physical stage of neighbours that need not be apart; what it did is said in the plan. */
import type { AnyStage, StageContext } from "../stages/stage.ts";
import type { Page, RowBatch } from "../stages/nouns.ts";
import { compress, compressWork } from "../stages/pages/compress.ts";
import { callOptimizer } from "../stages/optimizer.ts";
import { encrypt, encryptWork } from "../stages/pages/encrypt.ts";
import { sealPages } from "../stages/pages/seal-pages.ts";
import { fhirBulk, readFhirBulk } from "../stages/sources/fhir-bulk.ts";
import { fhir, readFhir } from "../stages/sources/fhir.ts";
import { postgres, readTuples } from "../stages/sources/postgres.ts";
import { Unjoined } from "../stages/sources/postgres-join-proof.ts";
import { postgresCopy, readCopy } from "../stages/sources/postgres-copy.ts";
import { holdsOfRecords, readRecords } from "../stages/sources/postgres-wire/read-records.ts";
import { isRowStage, type RowStage } from "../stages/transforms/define-transform.ts";
import { applyRowWork } from "../stages/transforms/row-work.ts";
import type { ConfiguredStage, PhysicalStage } from "./plan-types.ts";
import { formatOf } from "./record-format.ts";
import { resumesByKey } from "./resume.ts";

export interface Fused {
  readonly stages: readonly PhysicalStage[];
  readonly notes: readonly string[];
}

/**
 * Adjacent row functions become one stage, `compress` and `encrypt` one worker task.
 * @param apart true leaves every stage alone; results are the same, only slower (a property test holds it so)
 */
export function fuseStages(
  stages: readonly ConfiguredStage[],
  apart = false,
  pageBytes = 1024 * 1024,
): Fused {
  const fused: PhysicalStage[] = [];
  const notes: string[] = [];
  for (let i = 0; i < stages.length;) {
    const group = apart ? [stages[i]!] : groupAt(stages, i);
    i += group.length;
    const stage = eitherWay(
      group.length === 1 ? single(group[0]!, stages[i], pageBytes) : together(group, pageBytes),
      group,
      pageBytes,
    );
    if (asksForValues(group, stages[i]))
      notes.push(
        "`serialize: parquet` needs the values of rows, so they are made as objects of JavaScript",
      );
    if (group.length > 1)
      notes.push(`${stage.from.join(" + ")} run as one stage, \`${stage.name}\``);
    fused.push(stage);
  }
  return { stages: fused, notes };
}

function groupAt(stages: readonly ConfiguredStage[], start: number): readonly ConfiguredStage[] {
  const first = stages[start]!;
  const format = formatOf(stages[start + 1]);
  const needsNoValues = format !== undefined && format !== "parquet";
  if (first.definition === postgres && needsNoValues && !resumesByKey(first))
    return stages.slice(start, start + 2);
  if (isFhir(first.definition) && format === "ndjson") return stages.slice(start, start + 2);
  if (first.definition === compress && stages[start + 1]?.definition === encrypt)
    return stages.slice(start, start + 2);
  let end = start;
  while (end < stages.length && isRowStage(stages[end]!.definition)) end += 1;
  return stages.slice(start, Math.max(end, start + 1));
}

/** Whether the rows of the server would be records without any JavaScript, but for their format. */
const asksForValues = (
  group: readonly ConfiguredStage[],
  next: ConfiguredStage | undefined,
): boolean => group[0]!.definition === postgres && formatOf(next) === "parquet";

const isFhir = (definition: AnyStage): boolean => definition === fhir || definition === fhirBulk;

function single(
  { name, definition, config, from = [name] }: ConfiguredStage,
  next: ConfiguredStage | undefined,
  pageBytes: number,
): PhysicalStage {
  const open = (ctx: StageContext, input: AsyncIterable<unknown>): AsyncIterable<unknown> => {
    if (opensTexts(definition, next)) return readTuples(config as never, ctx, "text");
    // Rows longer than a page come in parts, so the source must know how long that is.
    if (definition === postgresCopy) return readCopy(config as never, pageBytes, ctx);
    return definition.open(config, ctx, input);
  };
  return {
    name,
    from,
    takes: definition.takes,
    gives: definition.gives,
    holds: (pageBytes, threads) => definition.holds(config, pageBytes, threads),
    open,
    ...settles(definition, config),
  };
}

const settles = (definition: AnyStage, config: unknown): Pick<PhysicalStage, "settle"> =>
  definition.settle ? { settle: (ctx) => definition.settle!(config, ctx) } : {};

/** CSV straight from PostgreSQL is what COPY prints, so arrays and composites are wanted as texts. */
const opensTexts = (definition: AnyStage, next: ConfiguredStage | undefined): boolean =>
  definition === postgres && formatOf(next) === "csv";

function together(group: readonly ConfiguredStage[], pageBytes: number): PhysicalStage {
  const from = group.flatMap(({ name, from = [name] }) => from);
  if (group[0]!.definition === postgres)
    return wirePostgres(group[0]!, group[1]!, { from, pageBytes });
  if (isFhir(group[0]!.definition)) return passFhir(group[0]!, from);
  const holds = (pageBytes: number, threads: number) =>
    group.reduce(
      (sum, { definition, config }) => sum + definition.holds(config, pageBytes, threads),
      0,
    );
  if (group[0]!.definition === compress) {
    const work = {
      compress: compressWork(group[0]!.config as never),
      ...encryptWork(group[1]!.config as never),
    };
    const open = (ctx: StageContext, input: AsyncIterable<unknown>) =>
      sealPages(work, ctx, input as AsyncIterable<Page>);
    return { name: "seal", from, takes: "pages", gives: "sealed", holds, open };
  }
  return {
    name: "transform",
    from,
    takes: "rows",
    gives: "rows",
    holds,
    open: openRows(group, from),
  };
}

/** Where nothing needs the rows, the server's bytes become records without a row object between. */
function wirePostgres(
  source: ConfiguredStage,
  records: ConfiguredStage,
  { from, pageBytes }: { readonly from: readonly string[]; readonly pageBytes: number },
): PhysicalStage {
  return {
    name: source.name,
    from,
    takes: "nothing",
    gives: "records",
    holds: holdsOfRecords,
    open: (ctx) => readRecords(source.config as never, records.config as never, pageBytes, ctx),
  };
}

/** A FHIR server's own JSON is the record: where nothing needs the rows, none are made. */
function passFhir(
  { name, definition, config }: ConfiguredStage,
  from: readonly string[],
): PhysicalStage {
  return {
    name,
    from,
    takes: "nothing",
    gives: "records",
    holds: (pageBytes, threads) => definition.holds(config, pageBytes, threads),
    open: (ctx) =>
      definition === fhir ? readFhir(config as never, ctx) : readFhirBulk(config as never, ctx),
    ...settles(definition, config),
  };
}

/** Where the server is to prove first that it may do what stages would: it does, or they do. */
function eitherWay(
  joined: PhysicalStage,
  [source, ...others]: readonly ConfiguredStage[],
  pageBytes: number,
): PhysicalStage {
  const { otherwise } = source!;
  if (!otherwise) return joined;
  const { stages } = fuseStages([...otherwise, ...others], false, pageBytes);
  const holdsApart = (pageBytes: number, threads: number) =>
    stages.reduce((sum, { holds }) => sum + holds(pageBytes, threads), 0);
  return {
    ...joined,
    holds: (pageBytes, threads) =>
      Math.max(joined.holds(pageBytes, threads), holdsApart(pageBytes, threads)),
    open: (ctx, input) =>
      joinOr(ctx, joined.open(ctx, input), () => {
        callOptimizer();
        return stages.reduce((items, stage) => stage.open(ctx, items), input);
      }),
  };
}

async function* joinOr(
  { log }: StageContext,
  joined: AsyncIterable<unknown>,
  open: () => AsyncIterable<unknown>,
): AsyncGenerator {
  let isJoined = false;
  try {
    for await (const item of joined) {
      if (!isJoined) log.info("lookup: the server joins its rows, in the query of the source");
      isJoined = true;
      yield item;
    }
    return;
  } catch (error) {
    if (!(error instanceof Unjoined)) throw error;
    log.info(`lookup: its rows are joined in this process, since ${error.message}`);
  }
  yield* open();
}

function openRows(group: readonly ConfiguredStage[], from: readonly string[]) {
  return async function* (ctx: StageContext, input: AsyncIterable<unknown>) {
    const work = [];
    for (const { definition, config } of group)
      work.push(await (definition as RowStage).work(config, ctx));
    yield* applyRowWork(work, from.join("+"), input as AsyncIterable<RowBatch>, ctx.signal);
  };
}
