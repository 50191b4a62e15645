/** What a source asked of its server and what it got: counts, and how long answers took to begin. */

export interface StatisticsReport {
  readonly requests: number;
  readonly retries: number;
  readonly pages: number;
  readonly bytes: number;
  readonly resourcesPerPage: number;
  /** Milliseconds until an answer began, at most 7 % too much; null without an answer. */
  readonly latencyMillis: {
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
  } | null;
}

export interface Statistics {
  answered(millis: number): void;
  received(bytes: number): void;
  retried(): void;
  paged(resources: number): void;
  report(): StatisticsReport;
}

/** Each bucket of the histogram is so much wider than the one before, from 0.1 ms up; the last holds all that is longer. */
const growth = 1.07;
const leastMillis = 0.1;
const buckets = 256;

export function createStatistics(): Statistics {
  const histogram = new Uint32Array(buckets);
  const sums = { requests: 0, retries: 0, pages: 0, bytes: 0, resources: 0 };

  const percentile = (part: number): number => {
    let left = Math.ceil(part * sums.requests);
    const bucket = histogram.findIndex((count) => (left -= count) <= 0);
    return Number((leastMillis * growth ** (bucket + 1)).toPrecision(3));
  };

  return {
    answered(millis) {
      sums.requests += 1;
      const bucket = Math.floor(
        Math.log(Math.max(millis, leastMillis) / leastMillis) / Math.log(growth),
      );
      histogram[Math.min(bucket, buckets - 1)]! += 1;
    },
    received(bytes) {
      sums.bytes += bytes;
    },
    retried() {
      sums.retries += 1;
    },
    paged(resources) {
      sums.pages += 1;
      sums.resources += resources;
    },
    report: () => ({
      requests: sums.requests,
      retries: sums.retries,
      pages: sums.pages,
      bytes: sums.bytes,
      resourcesPerPage: sums.pages === 0 ? 0 : Math.round(sums.resources / sums.pages),
      latencyMillis:
        sums.requests === 0
          ? null
          : { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99) },
    }),
  };
}
