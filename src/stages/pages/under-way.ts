/** Work on the folder that must not outlive it: once the spool is closed another run may hold the lock. */
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../errors.ts";

/** Longest wait of `end` for what has begun. */
const endMillis = 5000;

export interface UnderWay {
  /** @throws PipelineError `stopped` after the end */
  check(): void;
  add<T>(work: () => Promise<T>): Promise<T>;
  /** Nothing more begins; what has begun is waited for, up to a deadline. */
  end(): Promise<void>;
}

export function createUnderWay(): UnderWay {
  const works = new Set<Promise<unknown>>();
  let over = false;
  const check = () => {
    if (!over) return;
    throw new PipelineError("stopped", "spool: closed; what was durable stays so, run again");
  };
  return {
    check,
    async add<T>(work: () => Promise<T>): Promise<T> {
      check();
      const working = work();
      works.add(working);
      try {
        return await working;
      } finally {
        works.delete(working);
      }
    },
    async end() {
      over = true;
      if (works.size === 0) return;
      const all = Promise.allSettled(works);
      await Promise.race([all, sleep(endMillis, undefined, { ref: false })]);
    },
  };
}
