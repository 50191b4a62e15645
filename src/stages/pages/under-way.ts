/** Work on the folder that must not outlive it: once the spool is closed another run may hold the lock. */
import { PipelineError } from "../../errors.ts";
import { realClock, type Clock } from "../world.ts";

/** Longest wait of `end` for what has begun. */
const endMillis = 5000;

export interface UnderWay {
  /** @throws PipelineError `stopped` after the end: asked before anything is written */
  check(): void;
  add<T>(work: () => Promise<T>): Promise<T>;
  /** Nothing more begins but `last`; that and what has begun is waited for, up to a deadline. */
  end(last: () => Promise<unknown>): Promise<void>;
}

export function createUnderWay(clock: Clock = realClock): UnderWay {
  const works = new Set<Promise<unknown>>();
  let ending = false;
  let over = false;
  const refuse = (): never => {
    throw new PipelineError("stopped", "spool: closed; what was durable stays so, run again");
  };
  return {
    check() {
      if (over) refuse();
    },
    async add<T>(work: () => Promise<T>): Promise<T> {
      if (ending) refuse();
      const working = work();
      works.add(working);
      try {
        return await working;
      } finally {
        works.delete(working);
      }
    },
    async end(last) {
      ending = true;
      const all = Promise.allSettled([...works, last()]);
      const late = Promise.withResolvers<void>();
      const callOff = clock.after(endMillis, late.resolve);
      await Promise.race([all, late.promise]);
      callOff();
      over = true;
    },
  };
}
