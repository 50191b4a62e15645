/**
 * What the clocks of a time zone show, written as if they hung where UTC is.
 *
 * A time that they never show, because they are put forward over it, means the moment as much later as that gap is long; one
 * that they show twice means the first of its two moments.
 */

export interface ZoneClock {
  /** How far it is ahead of UTC at a moment. */
  aheadAt(moment: number): number;
  /** The moment that a time on it means. */
  momentOf(shown: number): number;
}

/** Between two changes of a zone's clocks lies more than this, and no gap is as long. */
export const dayMillis = 86_400_000;

export function zoneClock(timezone: string): ZoneClock {
  const format = new Intl.DateTimeFormat("en", { timeZone: timezone, timeZoneName: "longOffset" });
  const aheadAt = (moment: number): number => {
    const [, sign, ...digits] =
      /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?/.exec(format.format(moment)) ?? [];
    const [hours = 0, minutes = 0, seconds = 0] = digits.map((text) => Number(text || 0));
    return (sign === "-" ? -1000 : 1000) * (3600 * hours + 60 * minutes + seconds);
  };
  return {
    aheadAt,
    momentOf(shown) {
      const [before, behind] = [shown - dayMillis, shown + dayMillis].map(aheadAt) as [
        number,
        number,
      ];
      const moments = [before, behind].map((ahead) => shown - ahead);
      const first = moments.toSorted((a, b) => a - b).find((at) => at + aheadAt(at) === shown);
      return first ?? shown - before;
    },
  };
}
