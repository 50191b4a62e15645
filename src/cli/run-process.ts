/** A run as a process: `spillway run` with a slot, its words passed on, its document read. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { RunEnded, RunningRun, StartRun } from "../pipeline/serve/runs.ts";

/** A run stops within about two seconds; one that does not loses nothing when it is ended. */
const stopMillis = 3000;
const mostDocumentLetters = 1 << 20;
const stopped = 75;
/** As a shell says it. */
const killed = 137;

/** What of a run's document matters here; it is ours, and still only believed as far as it fits. */
interface Document {
  readonly runId?: unknown;
  readonly slot?: unknown;
  readonly error?: { readonly code?: unknown; readonly remedy?: unknown };
}

export interface RunProcesses {
  readonly start: StartRun;
  /** Ends at once what runs; what is durable stays so. */
  kill(): void;
}

/**
 * Starts runs with the command line this process was started with.
 * @param tell takes the lines that runs print on standard error
 */
export function runProcesses(
  env: NodeJS.ProcessEnv,
  tell: (name: string, line: string) => void,
): RunProcesses {
  const children = new Set<ChildProcess>();
  const start: StartRun = ({ served, slot, restart }) => {
    const args = ["run", served.file, "--slot", slot.toISOString(), "--json"];
    if (restart) args.push("--restart");
    const child = spawn(process.execPath, [process.argv[1]!, ...args], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    child.once("exit", () => children.delete(child));
    let document = "";
    child.stdout.on("data", (text: Buffer) => {
      if (document.length < mostDocumentLetters) document += text.toString();
    });
    createInterface({ input: child.stderr }).on("line", (line) => tell(served.name, line));
    const { promise: ended, resolve } = Promise.withResolvers<RunEnded>();
    let isStopped = false;
    child.once("error", () => resolve(readEnd(1, "")));
    // What a signal ended can go on, as far as it was durable.
    child.once("close", (code) =>
      resolve(readEnd(code ?? (isStopped ? stopped : killed), document)),
    );
    return {
      ended,
      stop() {
        isStopped = true;
        stop(child, ended);
      },
    };
  };
  const kill = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  return { start, kill };
}

function stop(child: ChildProcess, ended: RunningRun["ended"]): void {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMillis);
  void ended.then(() => clearTimeout(timer));
}

/** What a run's exit code and its document tell. What is resumable may help itself: by then there may be room. */
export function readEnd(exitCode: number, text: string): RunEnded {
  const { runId, slot, error } = parse(text);
  return {
    exitCode,
    code: typeof error?.code === "string" ? error.code : null,
    mayHelp: exitCode === killed || exitCode === stopped || error?.remedy === "try-again",
    runId: typeof runId === "string" ? runId : null,
    slot: typeof slot === "string" ? slot : null,
  };
}

function parse(text: string): Document {
  try {
    return (JSON.parse(text) as Document | null) ?? {};
  } catch {
    return {};
  }
}
