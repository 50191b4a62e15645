/**
 * CPU profiles of a running process, the main thread's and each worker's: at SIGUSR2, for ten seconds, into a folder. They
 * open in the developer tools of browsers. Nothing is loaded before the signal comes.
 *
 * Workers are asked through the main thread: https://chromedevtools.github.io/devtools-protocol/ and its domain NodeWorker.
 */
import { mkdir, writeFile } from "node:fs/promises";
import type { Session } from "node:inspector/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface LiveProfile {
  /** Takes no more signals; a profile under way is written now, whatever is left of its ten seconds. */
  dispose(): Promise<void>;
}

interface LiveProfileInit {
  readonly folder: string;
  /** Hears the paths that were written. */
  readonly written: (paths: readonly string[]) => void;
  /** Hears why there is no profile. */
  readonly failed: (reason: string) => void;
  readonly millis?: number;
}

const profileMillis = 10_000;
/** A worker in the middle of a page answers within milliseconds. */
const answerMillis = 2000;

/** Listens for SIGUSR2 (not on Windows, which has no such signal). */
export function listenForProfile(init: LiveProfileInit): LiveProfile {
  const end = new AbortController();
  let underWay: Promise<void> | undefined;
  const hear = () => {
    underWay ??= takeProfiles(init, end.signal)
      .then(init.written, (error: Error) => init.failed(error.name))
      .finally(() => (underWay = undefined));
  };
  if (process.platform !== "win32") process.on("SIGUSR2", hear);
  return {
    dispose() {
      process.off("SIGUSR2", hear);
      end.abort();
      return underWay ?? Promise.resolve();
    },
  };
}

async function takeProfiles(
  { folder, millis = profileMillis }: LiveProfileInit,
  end: AbortSignal,
): Promise<readonly string[]> {
  const { Session } = await import("node:inspector/promises");
  const session = new Session();
  session.connect();
  try {
    const workers = await attachWorkers(session);
    const threads = [session.post.bind(session) as Post, ...workers];
    await Promise.all(threads.map(start));
    await sleep(millis, undefined, { signal: end }).catch(() => {});
    const profiles = await Promise.all(threads.map(stop));
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const at = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
    return await Promise.all(profiles.map((profile, n) => write(folder, `${at}-${n}`, profile)));
  } finally {
    session.disconnect();
  }
}

type Post = (method: string, params?: object) => Promise<{ readonly profile?: object }>;

const start = async (post: Post) => {
  await post("Profiler.enable");
  await post("Profiler.start");
};

const stop = async (post: Post): Promise<object> => (await post("Profiler.stop")).profile ?? {};

async function write(folder: string, name: string, profile: object): Promise<string> {
  const thread = name.endsWith("-0") ? "main" : `worker${name.slice(name.lastIndexOf("-"))}`;
  const path = join(folder, `${name.slice(0, name.lastIndexOf("-"))}-${thread}.cpuprofile`);
  await writeFile(path, JSON.stringify(profile), { mode: 0o600, flag: "wx" });
  return path;
}

interface FromWorker {
  readonly params: { readonly sessionId: string; readonly message: string };
}

/** A way to talk to each worker there is now. */
async function attachWorkers(session: Session): Promise<readonly Post[]> {
  const ids: string[] = [];
  const answers = new Map<string, (result: object) => void>();
  let sent = 0;
  session.on("NodeWorker.attachedToWorker", ({ params }) => void ids.push(params.sessionId));
  session.on("NodeWorker.receivedMessageFromWorker", ({ params }: FromWorker) => {
    const { id, result } = JSON.parse(params.message) as { id?: number; result?: object };
    answers.get(`${params.sessionId}/${id}`)?.(result ?? {});
  });
  await session.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
  return ids.map((sessionId): Post => async (method, params = {}) => {
    sent += 1;
    const id = sent;
    const { promise, resolve } = Promise.withResolvers<object>();
    answers.set(`${sessionId}/${id}`, resolve);
    const message = JSON.stringify({ id, method, params });
    await session.post("NodeWorker.sendMessageToWorker", { sessionId, message });
    // A worker that ends meanwhile never answers, and then this wait may be all that keeps the process.
    return await Promise.race([promise, sleep(answerMillis, {})]);
  });
}
