/** Notes and warnings on standard error: few of each, few in all, and at the end how many were left out. */
import type { Log } from "../stages/stage.ts";
import { formatCount, harmless } from "./screen.ts";
import type { Paint } from "./verb.ts";

export interface Notes extends Log {
  /** Says how many were left out, if some were. */
  end(): void;
}

/** A stage may warn at every row; a log that fills a disk would stop more than the export. */
const mostAlike = 3;
const mostInAll = 200;
const mostLetters = 2000;

export function createNotes(write: (line: string) => void, paint: Paint): Notes {
  /** Messages seen, numbers apart; bounded, for only printed ones are kept. */
  const seen = new Map<string, number>();
  let printed = 0;
  let left = 0;

  const tell = (label: string, message: string) => {
    const short = harmless(message.slice(0, mostLetters));
    const likeness = short.replace(/\d+/g, "0");
    const times = (seen.get(likeness) ?? 0) + 1;
    if (times > mostAlike || printed >= mostInAll) {
      left += 1;
      return;
    }
    seen.set(likeness, times);
    printed += 1;
    write(`${label} ${short}\n`);
  };
  return {
    info: (message) => tell(paint.dim("note:"), message),
    warn: (message) => tell(paint.yellow("warning:"), message),
    end() {
      if (left > 0)
        write(`${paint.dim("note:")} ${formatCount(left)} more like these were left out\n`);
      left = 0;
    },
  };
}
