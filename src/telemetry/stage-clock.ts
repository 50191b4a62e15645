/**
 * Where a stage's time goes, seen from outside: every moment from its first pull to its end is exactly one of
 * - starved: it waits for the stage before and has nothing in flight it could work on;
 * - blocked: nobody asks it for anything, or it waits for page memory that later stages hold;
 * - busy: everything else.
 *
 * The three add up to the time the stage was open, also for stages that take in a window while they give.
 */

export interface StageTimes {
  readonly busySeconds: number;
  readonly starvedSeconds: number;
  readonly blockedSeconds: number;
}

export interface StageClock {
  /** The stage after asks for an item; the first time opens the clock. */
  pulled(): void;
  /** It has got one. */
  gave(): void;
  /** The stage asks the stage before. */
  asked(): void;
  /** It has got an item, or the end. */
  took(): void;
  /** The stage waits for page memory. */
  waits(): void;
  served(): void;
  /** The stage has ended; nothing counts any more. */
  closed(): void;
  /** Seconds so far, also while the stage is open. */
  times(): StageTimes;
}

type State = "busy" | "starved" | "blocked";

/**
 * @param inFlight items taken and not yet given on; must change only between two calls of the clock
 * @param now a monotonic clock in milliseconds
 */
export function createStageClock(
  inFlight: () => number = () => 0,
  now: () => number = () => performance.now(),
): StageClock {
  const millis = { busy: 0, starved: 0, blocked: 0 };
  let pulls = 0;
  let asks = 0;
  let waiting = 0;
  let open = false;
  let over = false;
  let since = 0;
  let state: State = "busy";

  const current = (): State => {
    if (waiting > 0) return "blocked";
    if (asks > 0 && inFlight() === 0) return "starved";
    return pulls > 0 ? "busy" : "blocked";
  };
  const settle = () => {
    if (!open) return;
    const time = now();
    millis[state] += time - since;
    since = time;
  };
  /** The time is read only where another state begins: most calls change none. */
  const turn = () => {
    const next = current();
    if (next === state) return;
    settle();
    state = next;
  };
  const change = (apply: () => void) => () => {
    apply();
    turn();
  };

  return {
    pulled() {
      pulls += 1;
      if (open || over) return turn();
      open = true;
      since = now();
      state = current();
    },
    gave: change(() => (pulls -= 1)),
    asked: change(() => (asks += 1)),
    took: change(() => (asks -= 1)),
    waits: change(() => (waiting += 1)),
    served: change(() => (waiting -= 1)),
    closed() {
      settle();
      open = false;
      over = true;
    },
    times() {
      settle();
      return {
        busySeconds: millis.busy / 1000,
        starvedSeconds: millis.starved / 1000,
        blockedSeconds: millis.blocked / 1000,
      };
    },
  };
}
