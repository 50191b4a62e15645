/** Runs a command as a whole process (and all it starts) and reads what the kernel counted of it. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { BenchServer } from "./server.ts";

export interface Measured {
  readonly seconds: number;
  /** User and system CPU seconds of the command and all it started. */
  readonly clientSeconds: number;
  /** Of PostgreSQL in the same time; 0 when none is named. */
  readonly serverSeconds: number;
  /** Peak resident memory: of a single process its VmHWM, of a pipe the sum over its processes. */
  readonly peakRssBytes: number;
  /** The private part of it (RssAnon), sampled. */
  readonly peakAnonBytes: number;
}

export interface MeasureOptions {
  readonly server?: BenchServer;
  readonly env?: Readonly<Record<string, string>>;
}

/** A high-water mark only rises, so that it is read seldom; reading it costs the cores that are measured. */
const sampleMillis = 50;

/**
 * Runs `script` in bash.
 * @throws Error when it does not end with 0
 */
export async function measure(
  script: string,
  { server, env = {} }: MeasureOptions = {},
): Promise<Measured> {
  const serverSeconds = async () => (await server?.cpuSeconds()) ?? 0;
  const serverBefore = await serverSeconds();
  const started = performance.now();
  // `times` prints the CPU time of the shell's children when all have ended.
  const wrapped = `set -o pipefail; { ${script}; } ; code=$?; times >&3; exit $code`;
  const child = spawn("bash", ["-c", wrapped], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
    env: { ...process.env, ...env },
  });
  let times = "";
  (child.stdio[3] as NodeJS.ReadableStream).on(
    "data",
    (text: Buffer) => (times += text.toString()),
  );
  const peaks = samplePeaks(child.pid!);
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const seconds = (performance.now() - started) / 1000;
  const { rssBytes, anonBytes } = peaks.stop();
  if (code !== 0) throw new Error(`${script} ended with ${code}`);
  return {
    seconds,
    clientSeconds: cpuOf(times),
    serverSeconds: (await serverSeconds()) - serverBefore,
    peakRssBytes: rssBytes,
    peakAnonBytes: anonBytes,
  };
}

/** Every descendant's own high-water mark; a process that ends between two samples keeps its last one. */
function samplePeaks(root: number) {
  const peaks = new Map<number, { rss: number; anon: number }>();
  const sample = async () => {
    for (const pid of await processTree(root)) {
      if (pid === root) continue;
      const known = peaks.get(pid) ?? { rss: 0, anon: 0 };
      const { peakBytes, anonBytes } = await memoryOf(pid);
      peaks.set(pid, {
        rss: Math.max(known.rss, peakBytes),
        anon: Math.max(known.anon, anonBytes),
      });
    }
  };
  const timer = setInterval(() => void sample(), sampleMillis);
  return {
    stop() {
      clearInterval(timer);
      const all = [...peaks.values()];
      return {
        rssBytes: all.reduce((sum, { rss }) => sum + rss, 0),
        anonBytes: all.reduce((sum, { anon }) => sum + anon, 0),
      };
    },
  };
}

/** Of a process, in bytes: the most that was resident (VmHWM), and what is private now (RssAnon); 0 once it has ended. */
export async function memoryOf(pid: number): Promise<{ peakBytes: number; anonBytes: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const of = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { peakBytes: of("VmHWM"), anonBytes: of("RssAnon") };
}

/** The processes a process started, and theirs; itself first. */
async function processTree(root: number): Promise<number[]> {
  const found = [root];
  // Only the first thread of a program starts others; the rest are many and cost a read each.
  const path = `/proc/${root}/task/${root}/children`;
  const text = await readFile(path, "utf8").catch(() => "");
  for (const pid of text.trim().split(/\s+/).filter(Boolean)) {
    found.push(...(await processTree(Number(pid))));
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

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
