/** Runs a command as a whole process (and its children) and reads what the kernel counted of it. */
import { spawn } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";

export interface Measured {
  readonly seconds: number;
  /** User and system CPU seconds of the command and all it started. */
  readonly cpuSeconds: number;
  /** Peak resident memory: of a single process its VmHWM, of a pipe the sum over its processes, sampled. */
  readonly peakRssBytes: number;
}

const sampleMillis = 20;

/**
 * Runs `sh -c script`.
 * @throws Error when it does not end with 0
 */
export async function measure(
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Measured> {
  const started = performance.now();
  // `times` prints the CPU time of the shell's children when all have ended.
  const child = spawn(
    "bash",
    ["-c", `set -o pipefail; { ${script}; } ; code=$?; times >&3; exit $code`],
    {
      stdio: ["ignore", "ignore", "inherit", "pipe"],
      env: { ...process.env, ...env },
    },
  );
  let times = "";
  (child.stdio[3] as NodeJS.ReadableStream).on(
    "data",
    (text: Buffer) => (times += text.toString()),
  );
  const peaks = new Map<number, number>();
  const timer = setInterval(() => void samplePeaks(child.pid!, peaks), sampleMillis);
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  clearInterval(timer);
  if (code !== 0) throw new Error(`${script} ended with ${code}`);
  return {
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: cpuOf(times),
    peakRssBytes: [...peaks.values()].reduce((sum, bytes) => sum + bytes, 0),
  };
}

/** Every descendant's own high-water mark; a process that ends between two samples keeps its last one. */
async function samplePeaks(root: number, peaks: Map<number, number>): Promise<void> {
  for (const pid of await descendants(root)) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const kibibytes = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    if (kibibytes > 0) peaks.set(pid, kibibytes * 1024);
  }
}

async function descendants(pid: number): Promise<number[]> {
  const found: number[] = [];
  for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const text = await readFile(`/proc/${pid}/task/${thread}/children`, "utf8").catch(() => "");
    for (const child of text.trim().split(/\s+/).filter(Boolean).map(Number)) {
      found.push(child, ...(await descendants(child)));
    }
  }
  return found;
}

/** The second line of `times`: user and system time of the children, as `0m1.234s 0m0.567s`. */
function cpuOf(times: string): number {
  const [, children = ""] = times.trim().split("\n");
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** Medians over the runs, figure by figure. */
export const medians = (runs: readonly Measured[]): Measured => ({
  seconds: median(runs.map(({ seconds }) => seconds)),
  cpuSeconds: median(runs.map(({ cpuSeconds }) => cpuSeconds)),
  peakRssBytes: median(runs.map(({ peakRssBytes }) => peakRssBytes)),
});
