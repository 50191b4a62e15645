/** A few small stages with every kind of field, so that tests of configs do not move when a real stage does. */
import * as v from "valibot";
import { count, duration, secret, size, text } from "../../src/stages/atoms.ts";
import { defineStage, type AnyStage } from "../../src/stages/stage.ts";

async function* nothing() {}

const given = { takes: "nothing", gives: "rows", holds: () => 0, open: nothing } as const;

const source = defineStage({
  name: "source",
  summary: "Reads rows.",
  config: v.strictObject({
    url: v.pipe(text, v.description("where the database is")),
    query: text,
    params: v.optional(v.array(v.unknown()), []),
    options: v.optional(
      v.strictObject({ limit: v.optional(count(1)), ssl: v.optional(v.boolean()) }),
    ),
  }),
  ...given,
});

const page = defineStage({
  name: "page",
  summary: "Fills pages.",
  config: v.strictObject({
    size: v.pipe(
      v.optional(size, "1MiB"),
      v.minValue(4096, "expected at least 4KiB"),
      v.description("bytes of a page"),
      v.metadata({ unit: "bytes" }),
    ),
    wait: v.optional(duration, "30s"),
  }),
  shorthand: "size",
  ...given,
});

const squeeze = defineStage({
  name: "squeeze",
  summary: "Compresses pages.",
  config: v.strictObject({
    codec: v.picklist(["zstd", "gzip", "none"], "expected zstd, gzip or none"),
  }),
  shorthand: "codec",
  ...given,
});

const seal = defineStage({
  name: "seal",
  summary: "Encrypts pages.",
  config: v.union(
    [
      v.strictObject({
        to: v.pipe(
          v.array(v.pipe(text, v.startsWith("age1", "expected a public key"))),
          v.transform((to) => to.length),
          v.description("public keys"),
        ),
      }),
      v.strictObject({ token: v.pipe(secret, v.minLength(12, "expected at least 12 characters")) }),
    ],
    "expected `to` or `token`",
  ),
  ...given,
});

const stages: readonly AnyStage[] = [source, page, squeeze, seal];

export const testRegistry: ReadonlyMap<string, AnyStage> = new Map(
  stages.map((stage) => [stage.name, stage]),
);
