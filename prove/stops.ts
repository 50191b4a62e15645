/**
 * Proves that a run asked to stop does so soon, whatever hangs, and that the same command then goes on to a whole export.
 *
 *   npm run prove:stops -- --trials 200 --seed 7
 *
 * A trial plays a scene (a silent database, a store that never answers, a slow disk …), sends SIGTERM or SIGINT at a random
 * moment, in one of four trials a second time, then lets the world be well again and runs the command to its end.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { judge } from "./judge.ts";
import { createTable, tableDigest } from "./oracle.ts";
import { seededRandom } from "./seeded.ts";
import {
  buildSlowDisk,
  copyStore,
  openStage,
  scenes,
  writeScene,
  type Scene,
  type Stage,
} from "./stops/scenes.ts";

export interface StopTrials {
  readonly trials: number;
  readonly seed: number;
  readonly rows: number;
  /** Plays only scenes whose name holds this. */
  readonly only?: string;
  readonly onTrial?: (line: string) => void;
}

export interface Stop {
  readonly scene: string;
  /** Exit code; the signal's name when it ended a process that had not begun to listen. */
  readonly end: number | string;
  readonly signals: 1 | 2;
  /** From the last signal to the end of the process. */
  readonly millis: number;
}

export interface StopReport {
  readonly stops: readonly Stop[];
  readonly failures: readonly string[];
  readonly seed: number;
}

const command = join(import.meta.dirname, "..", "bin", "spillway.js");
/** A signal this soon after another is taken as its echo. */
const secondAfterMillis = 350;
/** A stop that takes this long hangs. */
const hangsMillis = 30_000;

interface World {
  readonly stage: Stage;
  readonly databaseUrl: string;
  readonly key: { readonly identity: string; readonly recipient: string };
  readonly expected: string;
  readonly goldenMillis: number;
}

/** Plays the scenes in turn, each at random moments. */
export async function proveStops(options: StopTrials): Promise<StopReport> {
  const { trials, seed, rows, only = "", onTrial } = options;
  const folder = await mkdtemp(join(tmpdir(), "spillway-stops-"));
  const server = await startPostgres();
  const stage = await openStage(server.url);
  try {
    await createTable(server.url, rows, seed);
    const started = { stage, databaseUrl: server.url, key: await createKey(), goldenMillis: 0 };
    const expected = await tableDigest(server.url);
    const playable = scenes(buildSlowDisk(folder)).filter(({ name }) => name.includes(only));
    const goldenMillis = await measureRun(join(folder, "golden"), { ...started, expected });
    const world = { ...started, expected, goldenMillis };
    const random = seededRandom(seed);
    const stops: Stop[] = [];
    const failures: string[] = [];
    for (let trial = 0; trial < trials; trial += 1) {
      const scene = playable[(trial + seed) % playable.length]!;
      const [from, to] = scene.within ?? [0, goldenMillis * 1.1];
      const moment = from + random() * (to - from);
      const plan = { moment, twice: random() < 0.25, name: random() < 0.5 ? "SIGTERM" : "SIGINT" };
      const home = join(folder, `trial-${trial}`);
      const { stop, failure } = await playTrial(scene, world, home, plan as Planned);
      stops.push(stop);
      if (failure) failures.push(`trial ${trial} (${scene.name}): ${failure}`);
      onTrial?.(
        `trial ${trial}: ${scene.name}, ${plan.name}${stop.signals === 2 ? " twice" : ""} at ${Math.round(moment)} ms: ` +
          `${stop.end} after ${Math.round(stop.millis)} ms, ${failure ?? "whole"}`,
      );
      await rm(home, { recursive: true, force: true });
    }
    return { stops, failures, seed };
  } finally {
    await stage.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Planned {
  readonly moment: number;
  readonly twice: boolean;
  readonly name: "SIGTERM" | "SIGINT";
}

async function playTrial(scene: Scene, world: World, home: string, planned: Planned) {
  const { stage, databaseUrl, key } = world;
  const place = { home, recipient: key.recipient, databaseUrl };
  const yaml = await writeScene(scene, stage, place);
  stage.store.objects.clear();
  scene.disturb?.(stage, planned.moment);
  const { error, ...stop } = await runAndStop(scene, yaml, home, planned);
  scene.calm?.(stage);
  const failure =
    wrongEnd(stop) ?? (await runOn(scene, world, home, yaml, stop.end).catch(String)) ?? undefined;
  return { stop, failure: failure && `${failure} ${error}`.trim() };
}

/** 75 and 130 are a stop's; 0 is that of a run which was committed already; the signal itself, of one that had not begun. */
function wrongEnd({ end, signals, millis }: Stop): string | undefined {
  if (millis >= hangsMillis) return "did not end";
  const fine: readonly unknown[] = [75, 0, "SIGTERM", "SIGINT", ...(signals === 2 ? [130] : [])];
  return fine.includes(end) ? undefined : `ended with ${end}`;
}

/** The same command in a world that is well: it must end what was begun, and only that. */
async function runOn(
  scene: Scene,
  { key, expected, stage }: World,
  home: string,
  yaml: string,
  end: number | string,
): Promise<string | undefined> {
  if (end !== 0) {
    const last = await start(yaml, home).ended;
    if (last.end !== 0) return `the last run ended with ${last.end}: ${last.error}`;
  }
  const out = join(home, "out");
  if (scene.to === "store") await copyStore(stage.store, out);
  const verdict = await judge({
    exports: join(out, "kills"),
    spool: join(home, "spool", "kills"),
    identity: key.identity,
    expected,
  });
  if (typeof verdict === "string") return verdict;
  // Only 130 leaves open whether the first attempt had come to its commit.
  return verdict === 1 || end === 130 ? undefined : `there are ${verdict} exports, expected one`;
}

async function measureRun(home: string, world: World): Promise<number> {
  const scene: Scene = { name: "golden", to: "folder" };
  const place = { home, recipient: world.key.recipient, databaseUrl: world.databaseUrl };
  const yaml = await writeScene(scene, world.stage, place);
  const started = performance.now();
  const { end, error } = await start(yaml, home).ended;
  if (end !== 0) throw new Error(`an undisturbed run ended with ${end}: ${error}`);
  return performance.now() - started;
}

function start(yaml: string, home: string, more: Readonly<Record<string, string>> = {}) {
  const env = { ...process.env, XDG_STATE_HOME: join(home, "state"), STORE_KEY: "key", ...more };
  const child = spawn(process.execPath, [command, "run", yaml, "--quiet"], {
    stdio: ["ignore", "ignore", "pipe"],
    env,
  });
  let error = "";
  child.stderr.on("data", (text: Buffer) => (error += text.toString()));
  const ended = new Promise<{ end: number | string; at: number; error: string }>((resolve) => {
    let at = 0;
    child.on("exit", () => (at = performance.now()));
    child.on("close", (code, signal) => resolve({ end: code ?? signal!, at, error: error.trim() }));
  });
  return { child, ended };
}

async function runAndStop(
  scene: Scene,
  yaml: string,
  home: string,
  { moment, twice, name }: Planned,
): Promise<Stop & { error: string }> {
  const { child, ended } = start(yaml, home, { ...scene.env, STUCK: "1" });
  let [last, signals]: [number, 1 | 2] = [0, 1];
  const signal = () => {
    last = performance.now();
    child.kill(name);
  };
  const again = () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    signal();
    signals = 2;
  };
  const timers = [
    setTimeout(signal, moment),
    ...(twice ? [setTimeout(again, moment + secondAfterMillis)] : []),
    setTimeout(() => child.kill("SIGKILL"), moment + hangsMillis),
  ];
  const { end, at, error } = await ended;
  for (const timer of timers) clearTimeout(timer);
  return { scene: scene.name, end, signals, millis: last === 0 ? 0 : at - last, error };
}

const at = (sorted: readonly number[], share: number) =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);

/** `p50 40, p99 1,532, max 1,540 ms of 60` */
export function latencies(stops: readonly Stop[]): string {
  const sorted = stops.map(({ millis }) => millis).toSorted((a, b) => a - b);
  return `p50 ${at(sorted, 0.5)}, p99 ${at(sorted, 0.99)}, max ${at(sorted, 1)} ms of ${sorted.length}`;
}

if (import.meta.main) {
  const { only, ...values } = readOptions({ trials: 130, rows: 20_000, only: undefined });
  const { stops, failures, seed } = await proveStops({
    ...values,
    ...(only !== undefined && { only }),
    onTrial: tellProgress,
  });
  tellFailures(failures);
  for (const [scene, of] of Map.groupBy(stops, ({ scene }) => scene))
    process.stdout.write(`${scene}: ${latencies(of)}\n`);
  const ends = [...Map.groupBy(stops, ({ end }) => String(end))];
  process.stdout.write(
    `${stops.length} trials, ${failures.length} failures, seed ${seed}; ` +
      `ended with ${ends.map(([end, of]) => `${end}: ${of.length}`).join(", ")}\n` +
      `first signal: ${latencies(stops.filter(({ signals }) => signals === 1))}\n` +
      `second signal: ${latencies(stops.filter(({ signals }) => signals === 2))}\n`,
  );
}
