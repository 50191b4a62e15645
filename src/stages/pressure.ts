/**
 * Memory pressure, a closed loop: the memory of the process is measured as data passes, and stands for a step on a ladder
 * that ends at `threshold` of the budget. Each step leaves batches and page memory a smaller share; when memory falls, the
 * share grows back, a step at a time.
 *
 * Most of what a run can give back at once is garbage that V8 has not collected yet, so under pressure it is collected when
 * it has grown, not when V8 finds it worth while; the first time also what starting has left, and the room made for it.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const MiB = 1024 * 1024;

/** Measuring costs 10 µs alone, 200 beside busy threads; between two measurements no more than this comes in. */
const measuredEveryBytes = MiB / 2;
/** The share at the last step. Smaller batches save nothing more: the rest of the memory does not come from them. */
const leastShare = 1 / 4;
/** Growth of the heap that is left to V8 where there is no pressure; never less than half the heap, so that collecting pays. */
const easyGrowthBytes = 6 * MiB;

export interface PressureSettings {
  readonly budgetBytes: number;
  /** Part of the budget at which the last step is taken. */
  readonly threshold: number;
  /** How many steps there are. */
  readonly graduality: number;
  /** Part of the budget that the plan gave to nobody: what a wide row may take for a moment. */
  readonly spareBytes: number;
}

export interface Pressure {
  readonly settings: PressureSettings;
  /** 0 is none; `graduality` the most. */
  readonly step: number;
  /** How often each step was reached, from the first to the last. */
  readonly reached: readonly number[];
  /** Garbage collections asked for. */
  readonly collections: number;
  /** The part of what a stage would hold at ease that it should hold now. */
  readonly share: number;
  /** Tells that data has come in, and measures every now and then. */
  passed(bytes: number): void;
  /** Collects garbage where there is pressure: between two parts of a run, when much of it is known to lie about. */
  settle(): void;
}

/** What the loop measures, and the only things it does by itself. */
export interface ProcessMemory {
  rssBytes(): number;
  /** The heap with all that hangs on it outside. */
  heapBytes(): number;
  collect(): void;
  /** Collects all that can be, and makes the young generation small: takes several times as long. */
  shrink(): void;
}

export interface Ladder {
  /** Measured before the first row: what no step makes smaller. */
  readonly restBytes: number;
  /** Where the last step is. */
  readonly limitBytes: number;
  readonly steps: number;
}

/** The step that follows `step`: up as far as memory has risen, down by one and only when it has clearly fallen. */
export function nextStep(ladder: Ladder, step: number, rssBytes: number): number {
  const { restBytes, limitBytes, steps } = ladder;
  const stride = Math.max(0, limitBytes - restBytes) / steps;
  const rung = (number: number) => limitBytes - (steps - number) * stride;
  let reached = 0;
  while (reached < steps && rssBytes >= rung(reached + 1)) reached += 1;
  if (reached >= step) return reached;
  return rssBytes < rung(step) - stride / 2 ? step - 1 : step;
}

/** Watches the process against its budget; what it weighs now is taken for its rest. */
export function createPressure(
  settings: PressureSettings,
  memory: ProcessMemory = ownMemory,
): Pressure {
  const { budgetBytes, threshold, graduality } = settings;
  const ladder: Ladder = {
    restBytes: memory.rssBytes(),
    limitBytes: threshold * budgetBytes,
    steps: graduality,
  };
  const reached = Array.from({ length: graduality }, () => 0);
  let heapBytes = memory.heapBytes();
  let unmeasuredBytes = 0;
  let step = 0;
  let share = 1;
  let collections = 0;

  const measure = () => {
    const before = step;
    step = nextStep(ladder, step, memory.rssBytes());
    share = leastShare ** (step / graduality);
    for (let passed = before; passed < step; passed += 1) reached[passed]! += 1;
    if (step === 0) return;
    if (collections === 0) collect(memory.shrink);
    else collectGrowth();
  };

  const collectGrowth = () => {
    const now = memory.heapBytes();
    // V8 has collected by itself meanwhile.
    if (now < heapBytes) heapBytes = now;
    if (now - heapBytes < Math.max(easyGrowthBytes, heapBytes / 2) * share) return;
    collect(memory.collect);
  };

  const collect = (how: () => void) => {
    how();
    collections += 1;
    heapBytes = memory.heapBytes();
  };

  return {
    settings,
    reached,
    get step() {
      return step;
    },
    get collections() {
      return collections;
    },
    get share() {
      return share;
    },
    passed(bytes) {
      unmeasuredBytes += bytes;
      if (unmeasuredBytes < measuredEveryBytes) return;
      unmeasuredBytes = 0;
      measure();
    },
    settle() {
      if (step > 0) collect(memory.shrink);
    },
  };
}

/** No pressure, ever: for work that no budget was given for. */
export const atEase: Pressure = {
  settings: { budgetBytes: Infinity, threshold: 1, graduality: 1, spareBytes: Infinity },
  step: 0,
  reached: [0],
  collections: 0,
  share: 1,
  passed() {},
  settle() {},
};

const ownMemory: ProcessMemory = {
  rssBytes: () => process.memoryUsage.rss(),
  heapBytes() {
    const { used_heap_size: heap, external_memory: outside } = getHeapStatistics();
    return heap + outside;
  },
  collect: () => (collector ??= findCollector())(),
  shrink() {
    // In somebody's program with a large heap it would stand still for half a second.
    if (getHeapStatistics().total_heap_size > smallHeapBytes) return;
    (collector ??= findCollector())({ type: "major", execution: "sync", flavor: "last-resort" });
  },
};

type Collector = (kind?: {
  readonly type: "major";
  readonly execution: "sync";
  readonly flavor: "last-resort";
}) => void;

const smallHeapBytes = 64 * MiB;

let collector: Collector | undefined;

/** V8 hands its collector to contexts made while the flag stands, and to nobody else. */
function findCollector(): Collector {
  const { gc } = globalThis as { gc?: Collector };
  if (gc) return gc;
  setFlagsFromString("--expose-gc");
  try {
    return runInNewContext("gc") as Collector;
  } finally {
    setFlagsFromString("--no-expose-gc");
  }
}
