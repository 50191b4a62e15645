/** How many rows a pipeline's source has, where somebody can say without reading them. */
import { PipelineError } from "../errors.ts";
import { countPostgres, countSqlite, type SourceCount } from "../stages/sources/count.ts";
import { countFhir } from "../stages/sources/fhir/probe.ts";
import { fhir } from "../stages/sources/fhir.ts";
import { postgres } from "../stages/sources/postgres.ts";
import { postgresCopy } from "../stages/sources/postgres-copy.ts";
import { sqlite } from "../stages/sources/sqlite.ts";
import type { Pipeline } from "./define.ts";
import { planPipeline } from "./plan.ts";

export type { SourceCount };

export interface CountOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** @throws PipelineError `config-invalid` for a source that is only known when it is read */
export async function countSource(
  pipeline: Pipeline,
  { env, signal }: CountOptions,
): Promise<SourceCount> {
  // As written: what a query is made to do for the stages behind it changes what it counts.
  const { configured } = await planPipeline(pipeline, { resolve: "full", env, apart: true });
  const { definition, name, config } = configured[0]!;
  if (definition === fhir) return countFhir(config as never, signal);
  if (definition === sqlite) return countSqlite(config as never, signal);
  if (definition === postgres || definition === postgresCopy)
    return countPostgres(config as never, signal);
  throw new PipelineError(
    "config-invalid",
    `${name} cannot be counted without being read; expected one of fhir, postgres, postgres-copy, sqlite`,
  );
}

/** The same of one FHIR search by its address, without a login. */
export async function countUrl(address: string, signal: AbortSignal): Promise<SourceCount> {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const [, base, type] = /^(.*)\/([A-Z][A-Za-z]+)$/.exec(url?.pathname ?? "") ?? [];
  if (!url || base === undefined || type === undefined)
    throw new PipelineError(
      "config-invalid",
      "expected a pipeline file, or the address of a search such as https://server/fhir/Patient?active=true",
    );
  const search = [`${type}${url.search}`];
  return countFhir({ url: url.origin + base, search, post: false, timeout: 60_000 }, signal);
}
