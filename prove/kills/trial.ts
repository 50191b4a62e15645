/** One trial: an export that is killed again and again, then run to its end, and judged. */
import { existsSync, readdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ScriptedS3 } from "../../test/servers/scripted-s3.ts";
import { judge } from "../judge.ts";
import { copyStore } from "../stops/scenes.ts";
import { attempt, type Ended, type Moment, type Place } from "./attempt.ts";
import { readTraces, stretchOf, type Stretch } from "./how-far.ts";

export interface Home {
  readonly home: string;
  readonly url: string;
  readonly key: { readonly identity: string; readonly recipient: string };
  /** Where pages go; into a folder when absent. */
  readonly store?: ScriptedS3;
}

export interface Trial extends Home {
  /** When each attempt is killed. */
  readonly moments: readonly Moment[];
  readonly expected: string;
  /** Whether pages are opened by `verify` too, and not by restoring them alone. */
  readonly isVerifiedInFull: boolean;
}

/** Where a kill fell, and whether the attempt had taken up an earlier one. */
export interface Kill {
  readonly stretch: Stretch;
  readonly isResumed: boolean;
}

export interface Outcome {
  readonly kills: readonly Kill[];
  /** What was wrong; undefined when nothing was lost, doubled or damaged. */
  readonly wrong?: string;
}

export const bucket = "exports";
const pipeline = "kills";

export async function runTrial(trial: Trial): Promise<Outcome> {
  const kills: Kill[] = [];
  try {
    const wrong = await killAndJudge(trial, kills);
    return { kills, ...(wrong !== undefined && { wrong }) };
  } catch (error) {
    return { kills, wrong: String(error) };
  }
}

async function killAndJudge(trial: Trial, kills: Kill[]): Promise<string | undefined> {
  const { home, key, expected, store } = trial;
  const place = await makePlace(trial);
  const look = () => readTraces(place.spool, place.manifests());
  const committed = new Set<string>();
  let before = await look();
  for (const moment of trial.moments) {
    const ended = await attempt(place, moment);
    const after = await look();
    if (ended.exit === "SIGKILL")
      kills.push({
        stretch: stretchOf(before, after),
        isResumed: before.attempt !== undefined,
      });
    else if (ended.exit !== 0) return `an attempt ended with ${tell(ended)}`;
    for (const run of place.manifests()) committed.add(run);
    before = after;
  }
  const last = await attempt(place);
  if (last.exit !== 0) return `the last run ended with ${tell(last)}`;
  for (const run of place.manifests()) committed.add(run);
  if (store) await copyStore(store, join(home, "out"));
  // A kill after the commit leaves that run complete, and the next command begins another; each must be whole.
  const exports = join(home, "out", pipeline);
  const level = trial.isVerifiedInFull ? "full" : "quick";
  const { identity } = key;
  const verdict = await judge({ exports, spool: place.spool, identity, expected, level });
  if (typeof verdict === "string") return verdict;
  // The last run said that it committed; none that was seen before may be gone.
  const isWhole = committed.size > 0 && verdict === committed.size;
  return isWhole ? undefined : `${verdict} of ${committed.size} committed exports are there`;
}

const tell = ({ exit, error }: Ended) => `${exit}: ${error}`;

/** An undisturbed run, whose signs tell how long each part of it takes. */
export async function runOnce(home: Home): Promise<Ended> {
  const ended = await attempt(await makePlace(home));
  if (ended.exit !== 0) throw new Error(`an undisturbed run ended with ${tell(ended)}`);
  return ended;
}

async function makePlace(trial: Home): Promise<Place> {
  const { home, url, key, store } = trial;
  await mkdir(home, { recursive: true });
  const yaml = join(home, "export.yaml");
  const stages = [
    { postgres: { url, query: "select * from kills order by id" } },
    { serialize: "ndjson" },
    { chunk: "64KiB" },
    { compress: "zstd" },
    { encrypt: { to: key.recipient } },
    { spool: { dir: join(home, "spool") } },
    { upload: store ? uploadTo(store) : join(home, "out") },
  ];
  // JSON is YAML.
  await writeFile(yaml, JSON.stringify({ name: pipeline, stages }));
  return {
    yaml,
    state: join(home, "state"),
    spool: join(home, "spool", pipeline),
    manifests: () => manifestsOf(trial),
  };
}

const uploadTo = ({ endpoint }: ScriptedS3) => ({
  to: `s3://${bucket}`,
  endpoint,
  region: "us-east-1",
  accessKeyId: "${env:STORE_KEY}",
  secretAccessKey: "${env:STORE_KEY}",
});

/** Ids of the runs whose manifest lies at the destination. */
function manifestsOf({ home, store }: Home): ReadonlySet<string> {
  if (store) {
    const ids = [...store.objects.keys()].map((key) => /([^/]+)\/manifest\.json$/.exec(key)?.[1]);
    return new Set(ids.filter((id) => id !== undefined));
  }
  const exports = join(home, "out", pipeline);
  const runs = existsSync(exports) ? readdirSync(exports) : [];
  return new Set(runs.filter((run) => existsSync(join(exports, run, "manifest.json"))));
}
