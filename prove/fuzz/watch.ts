/** What must hold around every case: it ends, memory stays bounded, prototypes stay as they are. */
import { Worker } from "node:worker_threads";

/** Runs beside a main thread that may be stuck in a loop, and ends the process when it is. */
const watcher = `
const { workerData: { shared, replay, mostMillis } } = require("node:worker_threads");
const now = new Float64Array(shared);
let seen = -1;
let since = Date.now();
setInterval(() => {
  if (now[0] !== seen) [seen, since] = [now[0], Date.now()];
  else if (seen >= 0 && Date.now() - since > mostMillis) {
    require("node:fs").writeSync(2, "hangs: " + replay + " --case " + seen + "\\n");
    process.kill(process.pid, "SIGKILL");
  }
}, 500);
`;

/** @param replay how the case that hangs is run again, but for its number */
export function watchForHangs(replay: string, mostMillis: number) {
  const shared = new SharedArrayBuffer(8);
  const now = new Float64Array(shared);
  now[0] = -1;
  const worker = new Worker(watcher, { eval: true, workerData: { shared, replay, mostMillis } });
  worker.unref();
  return {
    begin(nth: number) {
      now[0] = nth;
    },
    end() {
      now[0] = -1;
      void worker.terminate();
    },
  };
}

/** What one case, or all of them, may add to the memory the process had at its start. */
const mostBytes = 768 * 2 ** 20;

/** Gives what is wrong with the memory of the process, once. */
export function tellMemory(): () => string | undefined {
  const start = process.resourceUsage().maxRSS * 1024;
  let told = false;
  return () => {
    const added = process.resourceUsage().maxRSS * 1024 - start;
    if (told || added < mostBytes) return undefined;
    told = true;
    return `this or one of the cases before took ${Math.round(added / 2 ** 20)} MiB of memory`;
  };
}

const watched = [Object, Array, Function, String, Number, Map, Promise, RegExp, Uint8Array, Error];

/** The names of all that objects inherit. */
export const prototypesNow = (): string =>
  watched.map(({ prototype }) => Reflect.ownKeys(prototype).map(String).join()).join(";");
