/**
 * what    frames a page: its identity, then its records as one zstd frame or gzip member
 * takes   pages · gives frames
 * holds   nothing of its own: the frame is weighed with the page
 * order   kept
 * ends    with its input
 * fails   internal (a worker died three times on the same page)
 */
import * as v from "valibot";
import { count } from "../atoms.ts";
import type { InferOutput } from "valibot";
import { defineStage } from "../stage.ts";
import type { SealTask } from "../../workers/seal.ts";
import { sealPages } from "./seal-pages.ts";

const config = v.strictObject({
  codec: v.pipe(
    v.picklist(["zstd", "gzip", "none"], "expected zstd, gzip or none"),
    v.description(
      "`zstd` and `gzip` carry the page's identity inside; with `none` the manifest alone proves order",
    ),
  ),
  level: v.pipe(
    v.optional(v.pipe(count(1), v.maxValue(19, "expected at most 19"))),
    v.description("compression level; 1 for zstd and gzip when absent"),
  ),
});

export const compress = defineStage({
  name: "compress",
  summary: "Frames each page: its identity and its records, compressed.",
  config,
  shorthand: "codec",
  takes: "pages",
  gives: "frames",
  holds: () => 0,
  open: (config, ctx, input) => sealPages({ compress: compressWork(config) }, ctx, input),
});

export function compressWork(given: InferOutput<typeof config>): NonNullable<SealTask["compress"]> {
  const level = given.level ?? 1;
  return { codec: given.codec, level: given.codec === "gzip" ? Math.min(level, 9) : level };
}
