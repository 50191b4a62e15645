/** Time that passes only while all sleep: what is measured is exact, however busy the machine is. */
import { mock } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

export interface StoppedTime {
  sleep(millis: number): Promise<void>;
  /** Wakes one sleeper after another until the work is done. */
  during(work: Promise<unknown>): Promise<void>;
  /** Lets time go its way again. */
  resume(): void;
}

export function stopTime(): StoppedTime {
  let now = 1000;
  const sleepers: { readonly at: number; readonly wake: () => void }[] = [];
  const clock = mock.method(performance, "now", () => now);
  return {
    sleep: (millis) => new Promise((wake) => void sleepers.push({ at: now + millis, wake })),
    async during(work) {
      let isOver = false;
      const end = () => (isOver = true);
      work.then(end, end);
      for (;;) {
        await turn();
        if (isOver) return void (await work);
        const next = sleepers.sort((one, other) => one.at - other.at).shift();
        now = next?.at ?? now;
        next?.wake();
      }
    },
    resume: () => clock.mock.restore(),
  };
}
