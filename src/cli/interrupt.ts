/** Ctrl-C and SIGTERM: the first asks the work to stop cleanly, the second ends the process at once. */
import { PipelineError } from "../errors.ts";

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Signals do what they always do again. */
  dispose(): void;
}

/** npm and a starting shell pass on the signal that the terminal has sent already: two this close are one key press. */
const echoMillis = 300;

/**
 * Listens for SIGINT and SIGTERM.
 * @param reason what the work ends with
 * @param onFirst called at the first signal, to say that it was heard
 */
export function listenForInterrupt(reason: () => PipelineError, onFirst: () => void): Interrupt {
  const controller = new AbortController();
  let firstAt: number | undefined;
  const hear = () => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      onFirst();
      controller.abort(reason());
    } else if (now - firstAt > echoMillis) {
      process.exit(130);
    }
  };
  process.on("SIGINT", hear);
  process.on("SIGTERM", hear);
  return {
    signal: controller.signal,
    dispose() {
      process.off("SIGINT", hear);
      process.off("SIGTERM", hear);
    },
  };
}

/** For verbs that have nothing to take up later. */
export const interrupted = (): PipelineError =>
  new PipelineError("interrupted", "interrupted before the end");
