/** What goes wrong in one attempt, drawn by chance: the disk, the source, the store, and who stops it. */
import { below, pick, type Random } from "./files.ts";
import type { Call, Trouble } from "./disk.ts";
import type { Dataset } from "./pages.ts";
import type { Fortune, Setup } from "./run.ts";

export interface Luck {
  readonly trouble: () => Trouble;
  readonly fortune: Fortune;
  /** The attempt is told to stop at this change of the disk. */
  readonly stopAt: number;
  /** A sync may fail: then the program cannot know what the disk holds, and may have to say so. */
  readonly doubtful: boolean;
}

/** About as many calls as a run makes. */
const callsMost = 300;
const changesMost = 150;
const never = Infinity;

export const calm: Luck = {
  trouble: () => ({ short: 0, fault: () => undefined }),
  fortune: { sourceRows: never, storeFails: 0 },
  stopAt: never,
  doubtful: false,
};

/** Attempts one after another; the last is calm, so that it must end well. */
export function drawLucks(random: Random, { rows }: Dataset): Luck[] {
  const lucks: Luck[] = [];
  while (lucks.length < 3 && random() < 0.4) lucks.push(drawLuck(random, rows));
  return [...lucks, { ...calm, trouble: shortOnly(pick(random, [0, 0, 0.3])) }];
}

const shortOnly = (short: number) => () => ({ short, fault: () => undefined });

function drawLuck(random: Random, rows: number): Luck {
  const kind = below(random, 6);
  const fault = drawFault(random, kind);
  const short = pick(random, [0, 0, 0.3]);
  return {
    trouble() {
      let calls = 0;
      return {
        short,
        fault(call) {
          calls += 1;
          return fault(call, calls);
        },
      };
    },
    fortune: {
      sourceRows: kind === 3 ? below(random, rows) : never,
      storeFails: kind === 4 ? 0.2 : 0,
    },
    stopAt: kind === 5 ? below(random, changesMost) : never,
    doubtful: kind < 2,
  };
}

type Fault = (call: Call, calls: number) => ReturnType<Trouble["fault"]>;

const grows = new Set<Call>(["write", "mkdir", "link", "rename"]);

function drawFault(random: Random, kind: number): Fault {
  const at = below(random, callsMost);
  const done = random() < 0.5;
  // One call fails, whatever it is; then all that come after, for a while; then a disk is full, for a while.
  if (kind === 0) return (_call, calls) => (calls === at ? { code: "EIO", done } : undefined);
  const until = at + below(random, 40);
  const within = (calls: number) => calls >= at && calls < until;
  if (kind === 1)
    return (call, calls) =>
      within(calls) && (call === "sync" || call === "unlink") ? { code: "EIO", done } : undefined;
  if (kind === 2)
    return (call, calls) =>
      within(calls) && grows.has(call) ? { code: "ENOSPC", done: false } : undefined;
  return () => undefined;
}

/** How a run is set up: small enough that several flushes, waits and groups come about. */
export function drawSetup(random: Random, datasets: readonly Dataset[]): Setup {
  return {
    dataset: pick(random, datasets),
    policy: {
      threshold: pick(random, [0, 0.4, 0.8, 1]),
      writer: pick(random, ["background", "background", "inline"] as const),
    },
    bufferBytes: pick(random, [1500, 3000, 20_000]),
    maxBytes: pick(random, [4096, 3 * 4096, 2 ** 30]),
    concurrency: pick(random, [1, 2, 4]),
  };
}
