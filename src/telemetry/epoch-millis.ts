/**
 * Milliseconds since the epoch with the fraction that `Date.now()` lacks. Every span takes both its times from here: the
 * SDK's own clock begins spans at whole milliseconds, and children would seem to begin before their parents.
 */
export function epochMillis(): number {
  return originMillis + performance.now();
}

const originMillis = performance.timeOrigin;
