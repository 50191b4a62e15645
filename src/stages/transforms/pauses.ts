/** Pauses in long work on rows, for all else that this thread does: it hears signals, sends pages and listens to servers. */
import { setImmediate } from "node:timers/promises";

/** Longest work in one go, where one row does not take longer. */
const workMillis = 50;
/** A look at the clock costs a tenth of what a quick function does; slow ones get it for each row. */
const rowsPerLook = 8;

export interface Pauses {
  /** Asked before each row of a batch. */
  isDue(row: number): boolean;
  /** @throws when the signal fires */
  take(): Promise<void>;
}

export function createPauses(signal: AbortSignal): Pauses {
  let last = performance.now();
  let look = rowsPerLook;
  return {
    isDue: (row) => row % look === 0 && performance.now() - last > workMillis,
    async take() {
      look = performance.now() - last > 2 * workMillis ? 1 : rowsPerLook;
      await setImmediate(undefined, { signal });
      last = performance.now();
    },
  };
}
