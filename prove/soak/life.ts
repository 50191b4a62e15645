/** The long-lived process of `prove/soak.ts`: runs pipelines one after another, as an application would, and says what it weighs. */
import { readdirSync } from "node:fs";
import { loadPipeline } from "../../src/pipeline/load.ts";
import { run } from "../../src/pipeline/run.ts";
import { PipelineError } from "../../src/errors.ts";

export interface Ask {
  readonly yaml: string;
  readonly stopAfterMillis?: number;
}

export interface Weight {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly threads: number;
  /** Timers, sockets and whatever else keeps a process alive. */
  readonly handles: number;
}

export interface Answer extends Weight {
  /** `committed`, or the code of what ended the run. */
  readonly end: string;
}

async function answer({ yaml, stopAfterMillis }: Ask): Promise<Answer> {
  const stop = new AbortController();
  const timer =
    stopAfterMillis === undefined ? undefined : setTimeout(() => stop.abort(), stopAfterMillis);
  const end = await loadPipeline(yaml)
    .then((pipeline) => run(pipeline, { signal: stop.signal }))
    .then(
      () => "committed",
      (error: unknown) => (error instanceof PipelineError ? error.code : String(error)),
    );
  clearTimeout(timer);
  return { end, ...(await weigh()) };
}

/** After what was left behind had time to end. */
async function weigh(): Promise<Weight> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  global.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    rssBytes: rss,
    heapBytes: heapUsed,
    descriptors: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
    handles: process.getActiveResourcesInfo().length,
  };
}

process.on("message", (ask: Ask) => {
  void answer(ask).then((told) => process.send!(told));
});
