/**
 * Time as a simulation has it: whoever wants something of the world takes a turn, turns are given one at a time in an
 * order that a seed decides, and the clock goes on only when nobody wants anything. The same seed gives the same run.
 */
import { below, type Random } from "./files.ts";

export interface Turns {
  /** Does `act` when its turn comes. After the end of the world nobody is answered any more. */
  take<T>(act: () => T): Promise<T>;
  readonly now: number;
  after(millis: number, work: () => void): () => void;
  /** Ends the world: like a power cut, it tells nobody. */
  end(): void;
  /** Rejects when everybody waits for something that will never come. */
  readonly stuck: Promise<never>;
}

interface Alarm {
  readonly at: number;
  readonly work: () => void;
}

/** Rounds of the event loop without a wish after which nothing more will come: streams take a few. */
const idleMost = 20;

export function createTurns(random: Random, moments = 0): Turns {
  const waiting: (() => void)[] = [];
  const alarms = new Set<Alarm>();
  const stuck = Promise.withResolvers<never>();
  stuck.promise.catch(() => {});
  let now = moments;
  let ended = false;
  let idle = 0;

  const ring = (): boolean => {
    let next: Alarm | undefined;
    for (const alarm of alarms) if (!next || alarm.at < next.at) next = alarm;
    if (!next) return false;
    alarms.delete(next);
    now = Math.max(now, next.at);
    next.work();
    return true;
  };

  const round = () => {
    if (ended) return;
    const next =
      waiting.length > 0 ? waiting.splice(below(random, waiting.length), 1)[0] : undefined;
    if (next) {
      idle = 0;
      next();
      // A tick that is asked for from the end of the queue comes when all that this turn has set off is done.
      return queueMicrotask(() => process.nextTick(round));
    }
    idle += 1;
    if (idle >= idleMost && !ring()) return stuck.reject(new Error("everybody waits for ever"));
    if (idle >= idleMost) idle = 0;
    setImmediate(round);
  };
  setImmediate(round);

  return {
    get now() {
      return now;
    },
    take: (act) =>
      new Promise((resolve, reject) => {
        if (ended) return;
        waiting.push(() => {
          try {
            const result = act();
            if (!ended) resolve(result);
          } catch (error) {
            if (!ended) reject(error);
          }
        });
      }),
    after(millis, work) {
      const alarm = { at: now + millis, work };
      alarms.add(alarm);
      return () => void alarms.delete(alarm);
    },
    end() {
      ended = true;
      waiting.length = 0;
      alarms.clear();
    },
    stuck: stuck.promise,
  };
}
