/**
 * what    frames a page: its identity, then its records as one zstd frame or gzip member
 * takes   pages · gives frames
 * holds   the codec's tables in every thread, by level and page size; the frame is weighed with the page
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

type SealCodec = NonNullable<SealTask["compress"]>["codec"];

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

const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * What zstd keeps beside its input and output, at most, by level: measured as the growth of the peak with pages of
 * 64 KiB to 64 MiB (zstd 1.5). Up to level 2 it is part of what every thread weighs.
 */
const zstdTables: readonly { readonly upTo: number; readonly bytes: number }[] = [
  { upTo: 2, bytes: 0 },
  { upTo: 6, bytes: 3 * MiB },
  { upTo: 8, bytes: 6 * MiB },
  { upTo: 9, bytes: 11 * MiB },
  { upTo: 11, bytes: 21 * MiB },
  { upTo: 12, bytes: 42 * MiB },
  { upTo: 17, bytes: 67 * MiB },
  { upTo: 19, bytes: 83 * MiB },
];

/** Tables are made no larger than a page can use. */
const tablesFor = (pageBytes: number) => 20 * pageBytes + MiB / 2;

/** zlib's window and hash chains. */
const gzipBytes = 512 * KiB;

function contextBytes(codec: SealCodec, level: number, pageBytes: number): number {
  if (codec === "none") return 0;
  if (codec === "gzip") return gzipBytes;
  const most = zstdTables.find(({ upTo }) => level <= upTo)!.bytes;
  return Math.min(most, tablesFor(pageBytes));
}

export const compress = defineStage({
  name: "compress",
  summary: "Frames each page: its identity and its records, compressed.",
  config,
  shorthand: "codec",
  takes: "pages",
  gives: "frames",
  holds: ({ codec, level = 1 }, pageBytes, threads) =>
    threads * contextBytes(codec, level, pageBytes),
  open: (config, ctx, input) => sealPages({ compress: compressWork(config) }, ctx, input),
});

export function compressWork(given: InferOutput<typeof config>): NonNullable<SealTask["compress"]> {
  const level = given.level ?? 1;
  return { codec: given.codec, level: given.codec === "gzip" ? Math.min(level, 9) : level };
}
