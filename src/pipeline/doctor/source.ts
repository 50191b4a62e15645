/** Whether the source can be read, and what its rows look up: servers are asked, files are opened. */
import { PipelineError, systemCode } from "../../errors.ts";
import { formatBytes } from "../../stages/atoms.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { probeFhir } from "../../stages/sources/fhir/probe.ts";
import { fhirBulk } from "../../stages/sources/fhir-bulk.ts";
import { fhir } from "../../stages/sources/fhir.ts";
import { mysql } from "../../stages/sources/mysql.ts";
import { postgres } from "../../stages/sources/postgres.ts";
import { sqlite, tryQuery } from "../../stages/sources/sqlite.ts";
import { registry } from "../../stages/registry.ts";
import { postgresCopy } from "../../stages/sources/postgres-copy.ts";
import { probePostgres } from "../../stages/sources/postgres-probe.ts";
import type { ProbedQuery } from "../../stages/sources/postgres-query-probe.ts";
import { lookup } from "../../stages/transforms/lookup.ts";
import { type LookupQuery, openLookupTable } from "../../stages/transforms/lookup-table.ts";
import type { ConfiguredStage } from "../plan-types.ts";
import { formatOf } from "../record-format.ts";
import { withFile, withoutWaiting } from "../with-file.ts";
import type { Examined } from "./examined.ts";

/** A lookup that the server may join is looked at as it is written: whether it is joined, only a run's own rows tell. */
export async function* examineSource({ plan, signal }: Examined): AsyncGenerator<Finding> {
  const stages = plan.configured.flatMap((stage) => stage.otherwise ?? stage);
  yield* examineRows(stages, signal);
  for (const { definition, config } of stages)
    if (definition === lookup)
      yield await tried("lookup", tryLookup(config as LookupConfig, signal), signal);
}

async function* examineRows(
  [source, next]: readonly ConfiguredStage[],
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const { name, definition, config } = source!;
  if (definition === postgres || definition === postgresCopy) {
    // As a run would ask: what COPY prints needs no JSON of the server.
    const isText = definition === postgresCopy || formatOf(next) === "csv";
    yield* probePostgres(config as ProbedQuery, isText ? "text" : "json", signal);
    return;
  }
  if (definition === fhir || definition === fhirBulk) {
    yield* probeFhir(config as Parameters<typeof probeFhir>[0], signal);
    return;
  }
  if (definition === mysql) {
    const { probeMysql } = await import("../../stages/sources/mysql-probe.ts");
    yield* probeMysql(config as Parameters<typeof probeMysql>[0], signal);
    return;
  }
  const { path, query } = (config ?? {}) as { path?: unknown; query?: unknown };
  if (path === "-") yield good("file", "standard input");
  else if (typeof path === "string") {
    const file = await describeFile(path);
    yield file;
    if (file.code !== undefined) return;
  }
  if (definition === sqlite)
    yield await tried("query", tryQuery(config as SqliteConfig, signal), signal);
  else if (typeof query === "string")
    yield doubt("query", `that of ${name} is not looked at here`, tryAdvice);
  else if (registry.get(name) !== definition)
    yield doubt(
      "stage",
      `${name} is a stage of your own; what it needs is not looked at here`,
      tryAdvice,
    );
}

const tryAdvice = "`spillway plan --sample` reads its first rows, as a run would";

type SqliteConfig = Parameters<typeof tryQuery>[0];

/** @param columns how many the query gives, or what it is refused with */
async function tried(
  check: string,
  columns: Promise<number>,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    const count = await columns;
    return good(check, `gives ${count} column${count === 1 ? "" : "s"}`);
  } catch (error) {
    if (error instanceof PipelineError && !signal.aborted) return fault(check, error);
    throw error;
  }
}

type LookupConfig = Omit<LookupQuery, "key"> & { readonly on: Readonly<Record<string, string>> };

async function tryLookup({ on, ...asked }: LookupConfig, signal: AbortSignal): Promise<number> {
  const key = Object.values(on);
  const { added, close } = await openLookupTable({ ...asked, key }, signal);
  await close();
  return key.length + added.length;
}

async function describeFile(path: string): Promise<Finding> {
  try {
    const found = await withFile(path, withoutWaiting, (file) => file.stat());
    if (found.isFile()) return good("file", `${path}: ${formatBytes(found.size)}`);
    return fault("file", new PipelineError("source-refused", `${path} is no file; expected one`));
  } catch (error) {
    const code = systemCode(error) ?? "unknown error";
    const isMissing = code === "ENOENT";
    return fault(
      "file",
      new PipelineError(
        isMissing ? "input-missing" : "source-refused",
        `${path} ${isMissing ? "does not exist" : `cannot be read (${code})`}; expected a file to read`,
        { cause: error },
      ),
    );
  }
}
