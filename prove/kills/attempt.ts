/** One start of the command that is killed, or one that is let be; and what can be seen of its progress from outside. */
import { spawn } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Signs of progress, in their order: the process starts, the run's record is written, a page has its name, SHA256SUMS is
 * written, the manifest is made, the manifest lies at the destination.
 */
export const signs = ["start", "record", "page", "sums", "manifest", "stored"] as const;

export type Sign = (typeof signs)[number];

/** When an attempt is killed: so long after a sign is seen. It may have ended by then. */
export interface Moment {
  readonly since: Sign;
  readonly millis: number;
}

export interface Place {
  readonly yaml: string;
  /** Holds the signing key. */
  readonly state: string;
  /** The pipeline's folder in the spool. */
  readonly spool: string;
  /** Ids of the runs whose manifest lies at the destination. */
  readonly manifests: () => ReadonlySet<string>;
}

export interface Ended {
  readonly exit: number | NodeJS.Signals | null;
  readonly error: string;
  /** Milliseconds after the start at which each sign was seen. */
  readonly seen: ReadonlyMap<Sign, number>;
  readonly millis: number;
}

const command = join(import.meta.dirname, "../..", "bin", "spillway.js");
const lookEveryMillis = 1;
/** Longer than any attempt takes on a busy machine; one that hangs is a failure. */
const deadlineMillis = 120_000;

export async function attempt(place: Place, moment?: Moment): Promise<Ended> {
  const started = performance.now();
  const look = lookAt(place);
  const child = spawn(process.execPath, [command, "run", place.yaml, "--quiet"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, XDG_STATE_HOME: place.state, STORE_KEY: "key" },
  });
  let error = "";
  child.stderr.on("data", (text: Buffer) => (error += text.toString()));
  const ended = Promise.withResolvers<number | NodeJS.Signals | null>();
  child.on("close", (code, signal) => ended.resolve(signal ?? code));
  let isOver = false;
  const end = ended.promise.finally(() => (isOver = true));
  const seen = new Map<Sign, number>();
  let now = 0;
  for (; !isOver && now < deadlineMillis; now = performance.now() - started) {
    for (const sign of look()) if (!seen.has(sign)) seen.set(sign, now);
    const since = moment && seen.get(moment.since);
    if (since !== undefined && now >= since + moment!.millis) break;
    await sleep(lookEveryMillis);
  }
  child.kill("SIGKILL");
  const exit = await end;
  if (now >= deadlineMillis) throw new Error(`an attempt does not end within ${deadlineMillis} ms`);
  return { exit, error: error.trim(), seen, millis: performance.now() - started };
}

/** Tells which signs are there; what an earlier attempt left counts from when this one has written its record. */
function lookAt({ spool, manifests }: Place): () => readonly Sign[] {
  const record = () => statSync(join(spool, "run.json"), { throwIfNoEntry: false });
  const has = (name: string) =>
    statSync(join(spool, name), { throwIfNoEntry: false }) !== undefined;
  const before = record()?.ino;
  const stored = manifests().size;
  const pages = join(spool, "pages");
  let isBegun = false;
  return () => {
    const ino = record()?.ino;
    isBegun ||= ino !== undefined && ino !== before;
    if (!isBegun) return ["start"];
    const found: Sign[] = ["start", "record"];
    if (isFilled(pages)) found.push("page");
    if (has("SHA256SUMS")) found.push("page", "sums");
    if (has("manifest.json")) found.push("manifest");
    if (manifests().size > stored) found.push("stored");
    return found;
  };
}

function isFilled(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}
