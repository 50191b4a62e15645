/**
 * Config atoms: the small schemas every stage's config is made of. Sizes, durations and references are parsed once,
 * here, so that a stage only ever sees numbers with a unit in their name.
 */
import * as v from "valibot";

export const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
export const timeUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 3.6e6,
  d: 8.64e7,
};

function parseUnit(units: Record<string, number>, text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text.trim());
  const factor = units[match?.[2] ?? ""];
  if (!match || factor === undefined) return undefined;
  return Math.round(Number(match[1]) * factor);
}

/** A size: `1MiB`, `64KB`, or a whole number of bytes. Gives bytes. */
export const size = v.pipe(
  v.union(
    [
      v.pipe(
        v.string(),
        v.check(
          (text) => parseUnit(sizeUnits, text) !== undefined,
          "expected a size such as 1MiB, 64KB or 4096 (bytes)",
        ),
        v.transform((text) => parseUnit(sizeUnits, text)!),
      ),
      v.number(),
    ],
    "expected a size such as 1MiB, 64KB or 4096 (bytes)",
  ),
  v.integer("expected a whole number of bytes"),
  v.minValue(1, "expected at least 1 byte"),
  v.safeInteger("expected fewer than 2^53 bytes"),
);

/** A duration: `30s`, `5m`, `250ms`, or a whole number of milliseconds. Gives milliseconds. */
export const duration = v.pipe(
  v.union(
    [
      v.pipe(
        v.string(),
        v.check(
          (text) => parseUnit(timeUnits, text) !== undefined,
          "expected a duration such as 30s, 5m or 250ms",
        ),
        v.transform((text) => parseUnit(timeUnits, text)!),
      ),
      v.number(),
    ],
    "expected a duration such as 30s, 5m or 250ms",
  ),
  v.integer("expected whole milliseconds"),
  v.minValue(1, "expected at least 1ms"),
  // Longer waits overflow the 32-bit timers of Node, which then fire at once.
  v.maxValue(2 ** 31 - 1, "expected less than 24 days"),
);

/** A whole number of at least `least`. */
export const count = (least: number) =>
  v.pipe(
    v.number("expected a number"),
    v.integer("expected a whole number"),
    v.minValue(least, `expected at least ${least}`),
  );

export const text = v.pipe(
  v.string("expected a text"),
  v.nonEmpty("expected a text that is not empty"),
);

/** What a parameter of a query may be. */
export const boundValue = v.union(
  [v.string(), v.number(), v.boolean(), v.null()],
  "expected a text, a number, true, false or null",
);

export const boundValues = v.optional(v.array(boundValue, "expected a list of values"), []);

/** Text that may hold a secret: printed nowhere, resolved from `${env:…}` or `${file:…}` before a stage opens. */
export const secret = v.pipe(
  v.string("expected a text"),
  v.nonEmpty("expected a text that is not empty"),
  v.metadata({ secret: true }),
);

const printUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes for people: `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < printUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${printUnits[unit]}`;
}

/** Milliseconds for people: `850 ms`, `12.3 s`, `4 m 05 s`. */
export function formatDuration(millis: number): string {
  // Limits are where the printed number would round up to the next unit.
  if (millis < 999.5) return `${Math.round(millis)} ms`;
  if (millis < 59_950) return `${(millis / 1000).toFixed(1)} s`;
  const seconds = Math.round(millis / 1000);
  const rest = String(seconds % 60).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${rest} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")} m`;
}
