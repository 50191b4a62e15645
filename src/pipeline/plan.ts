/**
 * Spec → frozen plan that fits its budget: stages checked and wired, fused, their memory added up.
 * Nothing is opened and nobody is asked: a plan does not touch source, spool or destination.
 */
import { resolve } from "node:path";
import { PipelineError } from "../errors.ts";
import { checkDestinationUrl } from "../stages/destinations/schemes.ts";
import type { UploadConfig } from "../stages/pages/upload.ts";
import { registry } from "../stages/registry.ts";
import type { AnyStage } from "../stages/stage.ts";
import { lookup } from "../stages/transforms/lookup.ts";
import { select } from "../stages/transforms/select.ts";
import { telemetryEnv } from "../telemetry/otel-env.ts";
import { describeMeaning, digestStages, noMeaning } from "./binding.ts";
import { loadCustomStages } from "./custom-stages.ts";
import type { Pipeline } from "./define.ts";
import { explainLookups, explainPath } from "./explain-rows.ts";
import { fuseStages } from "./fuse.ts";
import { drawLedger, type TelemetryWeight } from "./ledger.ts";
import { refuseLiteralSecrets } from "./literal-secrets.ts";
import { openerOf, planLayers } from "./plan-layers.ts";
import { explainTable, planTable } from "./plan-table.ts";
import type { ConfiguredStage, LedgerLine, Plan } from "./plan-types.ts";
import { printPlace, type Locate, type Path } from "./problems.ts";
import { pushDown, type Pushdown } from "./pushdown.ts";
import { planResume, planWatermark } from "./resume.ts";
import { refuseWrongRecipients } from "./recipients.ts";
import { measureReference } from "./references.ts";
import { describeField } from "./schema-walk.ts";
import { planSchedule } from "./schedule-plan.ts";
import { resolveSpec, validateSpec, type ValidSpec, type ValidStage } from "./validate.ts";
import { findMisfit } from "./wiring.ts";

export interface PlanOptions {
  /**
   * `full` resolves references, for a run; `none` leaves secrets alone, for reading a plan. Either gives the same plan
   * where no reference hides a size or a query.
   */
  readonly resolve: "full" | "none";
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Leaves every stage by itself; for comparing fused with plain. */
  readonly apart?: boolean;
}

/**
 * Plans a pipeline.
 * @throws PipelineError `config-invalid` with the place in the file; `budget-too-small` with the knob that helps
 */
export async function planPipeline(pipeline: Pipeline, options: PlanOptions): Promise<Plan> {
  const stages = await knownStages(pipeline);
  const { baseDir, locate } = pipeline;
  const env = options.env ?? process.env;
  refuseLiteralSecrets(pipeline, (path) => describeField(stages, path));
  const spec =
    options.resolve === "full"
      ? await resolveSpec(pipeline.spec, stages, { env, baseDir, ...(locate && { locate }) })
      : pipeline.spec;
  const valid = validateSpec(spec, stages, { resolve: options.resolve, locate });
  const configured = configure(valid, baseDir);
  refuseMisfits(configured, valid, pipeline);
  refuseStandIns(configured);
  refuseHiddenNone(pipeline);
  const configs = new Map(configured.map(({ name, config }) => [name, config]));
  refuseWrongRecipients(configs.get("encrypt"), pipeline);
  const pageBytes = sizeOr((configs.get("chunk") as { size: unknown }).size);
  const { pushed, ...pushdown } = options.apart
    ? { stages: configured, pushed: null, notes: [] }
    : pushDown(configured);
  const { stages: physical, notes } = fuseStages(pushdown.stages, options.apart, pageBytes);
  const upload = configs.get("upload") as UploadConfig;
  if (measureReference(upload.to) === "none") checkDestination(upload.to, configs, pipeline);
  const unknown = valid.unresolved.some(
    ([first, , , last]) => first === "memory" || last === "size",
  );
  const { budget: budgetBytes, ...rest } = valid.memory;
  const room = unknown ? Number.MAX_SAFE_INTEGER : budgetBytes;
  const ledger = placed(locate, ["memory"], () =>
    drawLedger(room, pageBytes, physical, weighTelemetry(valid, env)),
  );
  return {
    report: {
      name: valid.name,
      memoryBytes: budgetBytes,
      pressure: { ...rest, budgetBytes, spareBytes: budgetBytes - sumOf(ledger.lines) },
      leaseBytes: ledger.leaseBytes,
      pageBytes,
      threads: ledger.threads,
      stages: physical.map(({ holds, open: _open, ...stage }) => ({
        ...stage,
        holdsBytes: holds(pageBytes, ledger.threads),
      })),
      pushed,
      ledger: ledger.lines,
      notes: await tell(pushdown, notes, valid.schedule, { upload, locate }),
      configDigest: digestStages(pipeline.spec),
    },
    stages: physical,
    configured: pushdown.stages,
    spool: configs.get("spool") as Plan["spool"],
    upload,
    layers: planLayers(configs),
    opensWith: openerOf(configs),
    sign: valid.sign,
    telemetry: valid.telemetry,
    schedule: valid.schedule,
    ...(options.resolve === "full" ? await describeMeaning(configured, baseDir) : noMeaning),
    keepsRows: pushdown.stages.flatMap((stage) => stage.otherwise ?? stage).every(keepsRows),
  };
}

async function tell(
  { stages, notes }: Pick<Pushdown, "stages" | "notes">,
  fused: readonly string[],
  schedule: Plan["schedule"],
  { upload, locate }: { readonly upload: UploadConfig; readonly locate: Locate | undefined },
): Promise<readonly string[]> {
  return [
    ...notes,
    ...fused,
    ...explainPath(stages),
    planResume(stages),
    ...planWatermark(stages),
    ...explainLookups(stages),
    ...explainTable(upload),
    ...(await planSchedule(schedule, upload.to, locate)),
  ];
}

async function knownStages(pipeline: Pipeline): Promise<ReadonlyMap<string, AnyStage>> {
  const byPath = await loadCustomStages(pipeline.spec, pipeline.baseDir);
  return new Map([...registry, ...byPath, ...pipeline.customStages]);
}

/** Stages with their config; relative paths become absolute, from the folder of the file they stand in. */
function configure(valid: ValidSpec, baseDir: string): ConfiguredStage[] {
  return valid.stages.map(({ name, definition, config }: ValidStage) => {
    const given = config as Readonly<Record<string, unknown>> | null;
    const placed = Object.entries(given ?? {}).map(([key, value]) =>
      typeof value === "string" && measureReference(value) === "none"
        ? [key, placePath(key, value, baseDir)]
        : [key, value],
    );
    return { name, definition: definition!, config: given && Object.fromEntries(placed) };
  });
}

/** `-` is standard input; a destination with a scheme says its own place, but for a relative path of this machine. */
function placePath(key: string, value: string, baseDir: string): string {
  if (key === "module" || key === "dir" || (key === "path" && value !== "-"))
    return resolve(baseDir, value);
  if (key !== "to") return value;
  const [, scheme, path] = /^(file:|tar:|sqlite:)(?!\/)(.+)$/is.exec(value) ?? [];
  if (scheme !== undefined) return scheme + resolve(baseDir, path!);
  return /^[A-Za-z][A-Za-z0-9+.-]*:/.test(value) ? value : resolve(baseDir, value);
}

function refuseMisfits(
  stages: readonly ConfiguredStage[],
  valid: ValidSpec,
  pipeline: Pipeline,
): void {
  const links = stages.map(({ name, definition }) => ({
    name,
    takes: definition.takes,
    gives: definition.gives,
  }));
  const misfit = findMisfit(links);
  if (!misfit) return;
  const path = valid.stages[Math.min(misfit.index, valid.stages.length - 1)]!.path;
  const place = pipeline.locate ? `${printPlace(pipeline.locate(path, "key"))}: ` : "";
  throw new PipelineError("config-invalid", `${place}stages: ${misfit.problem}`);
}

/** No schema knows the schemes of destinations. */
function checkDestination(
  to: string,
  configs: ReadonlyMap<string, unknown>,
  { spec, locate }: Pipeline,
): void {
  const index = spec.stages.findIndex((stage) => "upload" in stage);
  placed(locate, ["stages", index, "upload", "to"], () =>
    planTable(checkDestinationUrl(to), configs),
  );
}

/** What no schema finds wrong gets its place here. */
function placed<T>(locate: Locate | undefined, path: Path, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!locate || !(error instanceof PipelineError)) throw error;
    throw new PipelineError(error.code, `${printPlace(locate(path))}: ${error.message}`);
  }
}

/** Resume and the manifest rest on these; a stage of one's own may stand between them, not in their place. */
function refuseStandIns(stages: readonly ConfiguredStage[]): void {
  const names = new Set(stages.map(({ name }) => name));
  const absent = ["chunk", "compress", "encrypt", "spool", "upload"].filter((n) => !names.has(n));
  if (absent.length === 0) return;
  throw new PipelineError(
    "config-invalid",
    `stages: ${absent.map((name) => `\`${name}\``).join(", ")} must be there; no stage of your own can take its place`,
  );
}

/** Encryption is off by the word alone: a variable that is not set must not mean plaintext. */
function refuseHiddenNone({ spec, locate }: Pipeline): void {
  for (const [index, stage] of spec.stages.entries()) {
    const written = stage["encrypt"];
    const mode =
      typeof written === "string" ? written : (written as { mode?: unknown } | null)?.mode;
    if (typeof mode !== "string" || measureReference(mode) === "none") continue;
    const place = locate ? `${printPlace(locate(["stages", index, "encrypt"]))}: ` : "";
    throw new PipelineError(
      "config-invalid",
      `${place}encrypt: expected \`to\` with public keys, \`passphrase\`, or the plain word none; a reference cannot turn encryption off`,
    );
  }
}

/** Whether every row that comes goes on, and no other. */
const keepsRows = ({ definition, config }: ConfiguredStage): boolean =>
  definition.takes !== "rows" ||
  definition.gives !== "rows" ||
  definition === select ||
  (definition === lookup && (config as { missing: string }).missing !== "drop");

const sumOf = (lines: readonly LedgerLine[]): number =>
  lines.reduce((sum, { bytes }) => sum + bytes, 0);

function sizeOr(size: unknown): number {
  // A size behind a reference is only known to a run; the plan draws its ledger with the default.
  return typeof size === "number" ? size : 1024 * 1024;
}

function weighTelemetry(
  { telemetry }: ValidSpec,
  env: Readonly<Record<string, string | undefined>>,
): TelemetryWeight {
  return telemetryEnv(telemetry, env) ? (telemetry?.sdk ?? "light") : "off";
}
