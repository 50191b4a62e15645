/**
 * How an interrupted run goes on, and what it needs for that.
 *
 * By proof: the source is read again from its start, and what is durable must come again. By key, where it is asked for:
 * the source goes on behind the last durable row, in another snapshot, and the manifest says so.
 */
import { PipelineError, assert } from "../errors.ts";
import type { Destination } from "../stages/destinations/destination.ts";
import { createPointSealer, type PointSealer } from "../stages/pages/resume-points.ts";
import { postgres, type PostgresConfig } from "../stages/sources/postgres.ts";
import { passwordOf } from "../stages/sources/postgres-client.ts";
import { isRowStage } from "../stages/transforms/define-transform.ts";
import type { ConfiguredStage, Plan } from "./plan-types.ts";
import { formatOf } from "./record-format.ts";
import { measureReference } from "./references.ts";
import type { RunFolder, RunFolderInit } from "./run-folder.ts";

/** What a run is bound to, as its folder asks for it. */
export const bindingOf = (
  { spool, report, meaning, formerMeaning }: Plan,
  { url, identity = url }: Destination,
): Omit<RunFolderInit, "restart"> => ({
  dir: spool.dir,
  pipeline: report.name,
  configDigest: report.configDigest,
  meaning,
  destination: identity,
  formerly: { meaning: formerMeaning, destination: url },
});

/** Whether a run of this source goes on by key. */
export const resumesByKey = ({ definition, config }: ConfiguredStage): boolean =>
  definition === postgres && (config as PostgresConfig).resume === "epochs";

/** Whether a run of this plan exports what is new since the last one alone. */
export const hasWatermark = ({ configured }: Pick<Plan, "configured">): boolean =>
  watermarkOf(configured[0]!) !== undefined;

const watermarkOf = ({ definition, config }: ConfiguredStage): PostgresConfig["watermark"] =>
  definition === postgres ? (config as PostgresConfig).watermark : undefined;

/**
 * Says what of the source is new.
 * @throws PipelineError `config-invalid` for a watermark that cannot be kept
 */
export function planWatermark([source]: readonly ConfiguredStage[]): readonly string[] {
  const watermark = watermarkOf(source!);
  if (!watermark) return [];
  const { resume, url } = source!.config as PostgresConfig;
  const { column, tiebreak, sealedBy } = watermark;
  if (resume === "epochs")
    throw refusedWatermark(
      "goes with `resume: proof`: every attempt reads the range that the first one fixed",
    );
  if (sealedBy === undefined && measureReference(url) === "none" && passwordOf(url) === undefined)
    throw refusedWatermark(
      "keeps its bound in the spool, sealed by the password of `url` or PGPASSWORD, and there is none; give one, or `sealedBy`",
    );
  const by = tiebreak === undefined ? column : `${column}, ${tiebreak}`;
  return [
    `an export holds what is new by ${by} since the last one committed, in that order; what was deleted is in none`,
  ];
}

const refusedWatermark = (why: string): PipelineError =>
  new PipelineError("config-invalid", `postgres: \`watermark\` ${why}`);

/**
 * Says what resume will be, and why it is not by key.
 * @throws PipelineError `config-invalid` where it is wanted by key and cannot be
 */
export function planResume(stages: readonly ConfiguredStage[]): string {
  const source = stages[0]!;
  if (!resumesByKey(source))
    return `an interrupted run reads ${source.name} again from the start, and what is durable must come again${howByKey(stages)}`;
  const { key, url } = source.config as PostgresConfig;
  if (!key) throw impossible("needs `key`, the columns by which rows are told apart");
  if (measureReference(url) === "none" && passwordOf(url) === undefined)
    throw impossible(
      "keeps the last key in the spool, sealed by the password of `url` or PGPASSWORD, and there is none",
    );
  const rowStages = stages.slice(
    1,
    stages.findIndex(({ definition }) => definition.takes === "records"),
  );
  if (stages.some(isParquet))
    throw impossible("cannot add to a Parquet file, whose end names all that is in it");
  const own = rowStages.find(
    ({ definition }) => definition.gives === "rows" && !isRowStage(definition),
  );
  if (own) throw impossible(`cannot follow rows through the stage \`${own.name}\``);
  return (
    `rows come in the order of ${key.join(", ")}, as objects of JavaScript; an interrupted run goes on behind the last durable one ` +
    "in a new snapshot, and its manifest then says `epochs`; row functions must make each row of that row alone"
  );
}

const isParquet = (stage: ConfiguredStage): boolean => formatOf(stage) === "parquet";

/** Nothing where it could not be by key either. */
function howByKey(stages: readonly ConfiguredStage[]): string {
  const { definition, config } = stages[0]!;
  if (definition !== postgres || stages.some(isParquet)) return "";
  const { key, watermark } = config as PostgresConfig;
  if (watermark) return "";
  return key
    ? "; with `resume: epochs` it would go on behind the last durable `key` instead, in a new snapshot"
    : "; with a `key` and `resume: epochs` it would go on behind the last durable row instead, in a new snapshot";
}

const impossible = (why: string): PipelineError =>
  new PipelineError(
    "config-invalid",
    `postgres: \`resume: epochs\` ${why}; give what it needs, or take \`resume: proof\``,
  );

/** What seals the resume points of a run; none where it goes on by proof. */
export async function pointsOf(
  { configured }: Plan,
  { record }: RunFolder,
): Promise<PointSealer | undefined> {
  const source = configured[0]!;
  if (!resumesByKey(source)) return undefined;
  const password = passwordOf((source.config as PostgresConfig).url);
  assert(password, "a plan that goes on by key has a password");
  return await createPointSealer(password, Buffer.from(record.key, "hex"));
}
