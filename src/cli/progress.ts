/** What a running command says of itself on standard error: one line drawn again, or a plain line now and then. */
import type { Log } from "../stages/stage.ts";
import { createNotes, type Notes } from "./notes.ts";
import { isLive, paintFor, textWidth } from "./screen.ts";
import type { Call, Paint } from "./verb.ts";

/** The parts of a progress line, the most telling first: where the line is full, the rest is left out. */
export type ProgressParts = (paint: Paint) => readonly string[];

export interface ProgressLine extends Log {
  show(parts: ProgressParts): void;
  /** Takes the line away. */
  end(): void;
}

const firstPlainMillis = 3000;
const longestPlainMillis = 60_000;
const eraseLine = "\r\u001b[K";

/** The progress line of a call: nothing with `--quiet`, no control characters where nobody watches. */
export function startProgress({ quiet, env }: Pick<Call, "quiet" | "env">): ProgressLine {
  const stream = process.stderr;
  const notes = createNotes((line) => stream.write(line), paintFor(stream));
  if (quiet) return quietLine(notes);
  return isLive(stream, env) ? liveLine(stream, notes) : plainLines(stream, notes);
}

function quietLine(notes: Notes): ProgressLine {
  return { show() {}, end: notes.end, info() {}, warn: notes.warn };
}

function liveLine(stream: NodeJS.WriteStream, notes: Notes): ProgressLine {
  let isDrawn = false;
  const erase = () => {
    if (isDrawn) stream.write(eraseLine);
    isDrawn = false;
  };
  return {
    show(parts) {
      // Asked for each time: windows change their size.
      const paint = paintFor(stream);
      stream.write(eraseLine + fitParts(parts(paint), paint.width - 1));
      isDrawn = true;
    },
    end() {
      erase();
      notes.end();
    },
    info(message) {
      erase();
      notes.info(message);
    },
    warn(message) {
      erase();
      notes.warn(message);
    },
  };
}

/** Lines come ever more rarely, so that the log of a run of days stays readable. */
function plainLines(stream: NodeJS.WriteStream, notes: Notes): ProgressLine {
  const started = performance.now();
  let nextMillis = firstPlainMillis;
  return {
    show(parts) {
      const elapsed = performance.now() - started;
      if (elapsed < nextMillis) return;
      nextMillis = elapsed + Math.min(longestPlainMillis, Math.max(firstPlainMillis, elapsed / 5));
      stream.write(`${parts(paintFor(stream)).join("  ")}\n`);
    },
    ...notes,
  };
}

function fitParts(parts: readonly string[], width: number): string {
  let line = "";
  for (const part of parts) {
    const longer = line === "" ? part : `${line}  ${part}`;
    if (textWidth(longer) > width) break;
    line = longer;
  }
  return line;
}
