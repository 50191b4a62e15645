/**
 * The plain spec: what YAML and code both say, before any reference is resolved. YAML → spec → YAML is the identity.
 */
import * as v from "valibot";
import { count, size, text } from "../stages/atoms.ts";
import { isAddress } from "../telemetry/otel-env.ts";
import { isEndpoint } from "../telemetry/otlp-endpoint.ts";

/** One stage as written: exactly one key, the stage's name (or a path to a custom stage), and its config. */
export type StageSpec = Readonly<Record<string, unknown>>;

const telemetrySchema = v.strictObject({
  otlp: v.pipe(
    v.optional(v.pipe(text, v.check(isEndpoint, "expected a URL such as http://localhost:4318"))),
    v.description(
      "OTLP/HTTP endpoint; without it, or when its variable is not set, the OTEL_* environment decides",
    ),
    v.metadata({ mayBeUnset: true }),
  ),
  sdk: v.pipe(
    v.optional(v.picklist(["light", "node"], "expected light or node"), "light"),
    v.description("`light` keeps the memory promise; `node` loads all of @opentelemetry/sdk-node"),
  ),
  prometheus: v.pipe(
    v.optional(
      v.pipe(
        text,
        v.check(isAddress, "expected host:port such as 127.0.0.1:9464 to serve metrics"),
      ),
    ),
    v.description("host:port to serve metrics on, such as 127.0.0.1:9464"),
  ),
});

export type TelemetryConfig = v.InferOutput<typeof telemetrySchema>;

const budget = v.pipe(
  v.optional(size, "96MiB"),
  v.description("bytes for the whole process: heap, buffers, workers, telemetry"),
);

/** The long form of `memory`: how batches and pages give way before the budget is reached. */
export const memorySchema = v.strictObject({
  budget,
  threshold: v.pipe(
    v.optional(
      v.pipe(
        v.number("expected a number"),
        v.minValue(0.5, "expected at least 0.5"),
        v.maxValue(1, "expected at most 1"),
      ),
      0.9,
    ),
    v.description("part of the budget at which batches and pages have become as small as they do"),
  ),
  graduality: v.pipe(
    v.optional(v.pipe(count(1), v.maxValue(64, "expected at most 64")), 4),
    v.description("steps in which they become so, from the first row on"),
  ),
});

export type MemoryConfig = v.InferOutput<typeof memorySchema>;

/** Which exports stay at the destination; others go after a later one is committed. */
const keepSchema = v.strictObject({
  runs: v.pipe(v.optional(count(1)), v.description("the newest so many")),
  days: v.pipe(v.optional(count(1)), v.description("those begun within so many days")),
});

export type KeepConfig = v.InferOutput<typeof keepSchema>;

const scheduleSchema = v.strictObject({
  cron: v.pipe(
    text,
    v.description(
      "when to run: minute, hour, day of month, month, weekday, such as `30 2 * * *`; six fields begin with seconds",
    ),
  ),
  timezone: v.pipe(
    v.optional(text, "UTC"),
    v.description("whose hours these are, such as `Europe/Berlin`"),
  ),
  overlap: v.pipe(
    v.optional(v.picklist(["skip", "wait", "replace"], "expected skip, wait or replace"), "skip"),
    v.description(
      "when a slot comes while the run before goes on: `skip` the slot · `wait` for the run to end · `replace` the run",
    ),
  ),
  keep: v.pipe(
    v.optional(keepSchema),
    v.description(
      "exports of this pipeline that stay at the destination; an older one goes when neither `runs` nor `days` keeps it, and the newest stays always; all stay when absent",
    ),
  ),
});

export type ScheduleConfig = v.InferOutput<typeof scheduleSchema>;

export const specSchema = v.strictObject({
  name: v.pipe(
    v.string("expected a name"),
    v.regex(
      /^[a-z0-9][a-z0-9._-]{0,62}$/,
      "expected 1 to 63 of a-z 0-9 . _ - and a letter or digit first",
    ),
    v.description("names the pipeline, its folder at the destination and its spool"),
  ),
  memory: v.pipe(
    v.optional(
      v.union([size, memorySchema], "expected a size such as 96MiB, or a mapping"),
      "96MiB",
    ),
    v.description("bytes for the whole process: heap, buffers, workers, telemetry"),
  ),
  stages: v.pipe(
    v.array(v.record(v.string(), v.unknown()), "expected a list of stages"),
    v.minLength(1, "expected at least one stage"),
    v.description("the stages in the order data takes"),
  ),
  sign: v.pipe(
    v.optional(text),
    v.description(
      "Ed25519 private key (PEM) that signs the manifest, as `${file:…}`; made on first use when absent",
    ),
  ),
  telemetry: v.pipe(v.optional(telemetrySchema), v.description("where traces and metrics go")),
  schedule: v.pipe(
    v.optional(scheduleSchema),
    v.description("when `spillway serve` runs the pipeline, and which exports stay"),
  ),
});

/** As written: sizes and durations may still be texts, references are still `${env:…}`. */
export type PipelineSpec = Omit<v.InferInput<typeof specSchema>, "stages"> & {
  readonly stages: readonly StageSpec[];
};
