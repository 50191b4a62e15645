/** A pipeline drawn at random, with rows, a budget and what interrupts it: drawn again by its seed. */
import { seededRandom } from "../seeded.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** What a row's text is made of: some grow when they are escaped, some take two bytes a character in JavaScript. */
export const texts = ["plain", "digests", "controls", "quotes", "lines", "kanji"] as const;
export type TextKind = (typeof texts)[number];

export const sources = ["postgres", "postgres-copy", "ndjson", "csv", "json", "sqlite"] as const;
export type SourceKind = (typeof sources)[number];

export interface Rows {
  readonly text: TextKind;
  /** Bytes of each row's text, before it is escaped. */
  readonly widths: readonly number[];
}

/** A stop on the way: after so many milliseconds. */
export interface Stop {
  readonly signal: "SIGTERM" | "SIGKILL";
  readonly afterMillis: number;
}

export interface Trial {
  readonly source: SourceKind;
  readonly shape: string;
  readonly rows: Rows;
  /** Functions of JavaScript on each row; none leaves `postgres` its fast path. */
  readonly maps: number;
  /** Bytes a reading stage takes at a time, and the most of a row, where it is asked. */
  readonly batchBytes: number | undefined;
  readonly maxRecord: number | undefined;
  readonly serialize: object;
  readonly chunk: { readonly size: number; readonly records?: number | undefined };
  readonly compress: { readonly codec: string; readonly level?: number };
  readonly recipients: number;
  readonly spoolBytes: number;
  readonly concurrency: number;
  readonly to: "folder" | "tar";
  readonly telemetry: "off" | "light" | "node" | "prometheus";
  /** Bytes above the least budget that the plan accepts. */
  readonly spareBytes: number;
  readonly stops: readonly Stop[];
}

/** Pages cost a fixed time each, and a trial should take seconds. */
const mostPages = 1500;

export function drawTrial(seed: number): Trial {
  const random = seededRandom(seed);
  const oneOf = <T>(...choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const source = oneOf(...sources, "postgres" as const);
  const text = oneOf(...texts);
  const pageBytes = oneOf(4 * KiB, 64 * KiB, 256 * KiB, MiB, MiB, 2 * MiB, 4 * MiB, 16 * MiB);
  const records = oneOf(undefined, undefined, undefined, undefined, 1, 7, 1000);
  const isFile = !source.startsWith("postgres");
  const maps = source === "postgres-copy" ? 0 : oneOf(0, 0, 1, 2);
  const shape = oneOf("equal", "equal", "jump", "falling", "one large", "only one", "none");
  // A file of Parquet needs columns, which a file without rows does not tell.
  const formats = ["ndjson", "csv", "json", ...(shape === "none" ? [] : ["parquet"])];
  const format = source === "postgres-copy" ? "copy" : oneOf("ndjson", ...formats);
  /** Rows of PostgreSQL that JavaScript needs whole are bounded by `batch`. */
  const isWhole = source === "postgres" && (maps > 0 || format === "json" || format === "parquet");
  const totalBytes = Math.min(oneOf(200 * KiB, 5 * MiB, 20 * MiB, 40 * MiB), pageBytes * mostPages);
  const width = oneOf(20, 100, 1000, 10_000, 100_000);
  const wide = isFile || isWhole ? oneOf(MiB / 8, 5 * MiB, 20 * MiB) : oneOf(24 * MiB, 60 * MiB);
  const large = Math.min(wide, pageBytes * mostPages);
  const mostRows = records === undefined ? 300_000 : records * mostPages;
  const widths = widthsOf(shape, width, large, totalBytes).slice(0, mostRows);
  const widest = widths.reduce((most, width) => Math.max(most, width), 0) * longest[text] + 4 * KiB;
  const to = oneOf("folder", "folder", "folder", "tar");
  const stopMillis = () => 500 + random() * 4000;
  return {
    source,
    shape,
    rows: { text, widths },
    maps,
    batchBytes: isWhole
      ? Math.max(oneOf(16 * KiB, 64 * KiB, MiB), Math.ceil(widest / 4))
      : undefined,
    maxRecord: isFile && (widest > MiB || random() < 0.4) ? widest : undefined,
    serialize: {
      format,
      ...(format === "parquet" && random() < 0.5 && { rowGroup: oneOf(64 * KiB, 4 * MiB) }),
    },
    chunk: { size: pageBytes, ...(format !== "parquet" && { records }) },
    compress: oneOf<Trial["compress"]>(
      { codec: "zstd" },
      { codec: "zstd" },
      { codec: "zstd", level: oneOf(3, 9) },
      { codec: "gzip" },
      { codec: "none" },
    ),
    recipients: oneOf(0, 1, 1, 3),
    spoolBytes: oneOf(2 * pageBytes, 10 * 1024 * MiB, 10 * 1024 * MiB),
    concurrency: oneOf(1, 4, 16),
    to,
    telemetry: oneOf("off", "light", "light", "node", "prometheus"),
    spareBytes: oneOf(0, 0, random() * 8 * MiB),
    // A tar file that was finished right before it was stopped takes no other run.
    stops: Array.from({ length: to === "tar" ? 0 : oneOf(0, 0, 1, 2) }, () => ({
      signal: oneOf("SIGTERM", "SIGKILL"),
      afterMillis: stopMillis(),
    })),
  };
}

/** Bytes in a file that a byte of text may take there, escaped. */
const longest: Readonly<Record<TextKind, number>> = {
  plain: 1,
  digests: 1,
  controls: 6,
  quotes: 2,
  lines: 2,
  kanji: 1,
};

function widthsOf(shape: string, width: number, large: number, totalBytes: number): number[] {
  const many = (each: number, bytes: number) =>
    Array.from({ length: Math.max(1, Math.floor(bytes / (each + 30))) }, () => each);
  switch (shape) {
    case "none":
      return [];
    case "only one":
      return [large];
    case "one large":
      return [...many(width, totalBytes / 4), large, ...many(width, totalBytes / 4)];
    case "jump":
      return [
        ...many(width, totalBytes / 3),
        ...many(Math.min(100 * width, large), totalBytes / 3),
        ...many(width, totalBytes / 3),
      ];
    case "falling":
      return [large, large / 4, large / 16, large / 64, ...many(width, totalBytes / 2)].map(
        Math.floor,
      );
    default:
      return many(width, totalBytes);
  }
}
