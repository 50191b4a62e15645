/**
 * Runs exports for hours while everything around them fails: one process that lives on and runs one pipeline after another,
 * commands that are killed, a database that ends connections, a store that refuses and resets, a disk that is full.
 *
 *   npm run prove:soak -- --minutes 240 --seed 7
 *
 * After each export the oracle compares what can be restored with the table; after each run the process says what it
 * weighs. A leak shows as a slope, in MiB an hour with its standard error, and as descriptors or threads that grow.
 */
import { execFileSync, fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { refuse } from "../test/servers/scripted-s3.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { judge } from "./judge.ts";
import { createTable, tableDigest } from "./oracle.ts";
import { seededRandom } from "./seeded.ts";
import type { Answer, Ask, Weight } from "./soak/life.ts";
import { slopeOf } from "./soak/slope.ts";
import { copyStore, openStage, writeScene, type Stage } from "./stops/scenes.ts";

export interface Soak {
  readonly minutes: number;
  readonly seed: number;
  readonly rows: number;
  readonly onCycle?: (line: string) => void;
}

interface Sample extends Weight {
  readonly atMillis: number;
}

export interface SoakReport {
  readonly exports: number;
  /** How often each fault was played. */
  readonly faults: Readonly<Record<string, number>>;
  readonly ends: Readonly<Record<string, number>>;
  readonly samples: readonly Sample[];
  readonly failures: readonly string[];
}

/** What goes on around an attempt. */
interface World {
  readonly stage: Stage;
  readonly admin: Client;
  readonly life: ChildProcess;
  readonly env: NodeJS.ProcessEnv;
  readonly random: () => number;
}

const command = join(import.meta.dirname, "..", "bin", "spillway.js");
const longestMillis = 120_000;
/**
 * As the command line has it: a young generation that does not grow, and one arena for all threads. Left alone, these two grow
 * by 50 MiB in the first hour, up to their own bounds, and hide what a leak would add.
 */
const leanFlags = ["--expose-gc", "--max-semi-space-size=1"];
const leanAllocator = { MALLOC_ARENA_MAX: "1" };
const diskBytes = 16 * 2 ** 20;

type Attempt = (world: World, yaml: string, home: string) => Promise<string | Answer>;

/** An attempt in the process that lives on; what it ends with is no failure, whatever it is. */
const live = async ({ life }: World, ask: Ask): Promise<Answer> => {
  life.send(ask);
  const [told] = (await once(life, "message", {
    signal: AbortSignal.timeout(longestMillis),
  })) as [Answer];
  return told;
};

const faults: Readonly<Record<string, Attempt>> = {
  stop: (world, yaml) => live(world, { yaml, stopAfterMillis: world.random() * 900 }),
  async kill({ random, env }, yaml) {
    const child = spawn(process.execPath, [command, "run", yaml, "--quiet"], {
      stdio: "ignore",
      env,
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), 300 + random() * 1500);
    await once(child, "exit");
    clearTimeout(timer);
    return "killed";
  },
  async "connections ended by the database"(world, yaml) {
    const timer = setTimeout(() => {
      const sql =
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()";
      world.admin.query(`${sql} and backend_type = 'client backend'`).catch(() => {});
    }, world.random() * 800);
    return await live(world, { yaml }).finally(() => clearTimeout(timer));
  },
  async "connections reset"(world, yaml) {
    const timer = setTimeout(() => world.stage.database.reset(), world.random() * 800);
    return await live(world, { yaml }).finally(() => clearTimeout(timer));
  },
  async "a store that refuses"(world, yaml) {
    const { faults } = world.stage.store;
    for (let left = Math.ceil(world.random() * 12); left > 0; left -= 1) {
      const reset = world.random() < 0.3;
      faults.push({
        on: "PUT",
        play: ({ response, request }) => {
          if (reset) request.socket.destroy();
          else refuse(response, 503, "SlowDown");
        },
      });
    }
    return await live(world, { yaml }).finally(() => faults.splice(0));
  },
  async "a full disk"(world, yaml, home) {
    const ballast = join(home, "spool", "ballast");
    const fill = sleep(world.random() * 300).then(() =>
      writeFile(ballast, Buffer.alloc(diskBytes)).catch(() => {}),
    );
    const clear = fill.then(() => sleep(1500)).then(() => rm(ballast, { force: true }));
    const told = await live(world, { yaml });
    await clear;
    return told;
  },
};

export async function soak({ minutes, seed, rows, onCycle }: Soak): Promise<SoakReport> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-soak-"));
  const server = await startPostgres();
  const stage = await openStage(server.url);
  const env = { ...process.env, XDG_STATE_HOME: join(folder, "state"), STORE_KEY: "key" };
  const life = fork(join(import.meta.dirname, "soak", "life.ts"), {
    env: { ...env, ...leanAllocator },
    execArgv: leanFlags,
  });
  const admin = new Client({ connectionString: server.url });
  try {
    await createTable(server.url, rows, seed);
    await admin.connect();
    const key = await createKey();
    const expected = await tableDigest(server.url);
    const world: World = { stage, admin, life, env, random: seededRandom(seed) };
    const report = { exports: 0, faults: {}, ends: {}, samples: [], failures: [] };
    const started = performance.now();
    for (let cycle = 0; performance.now() - started < minutes * 60_000; cycle += 1) {
      const home = join(folder, `${cycle}`);
      const place = { home, recipient: key.recipient, databaseUrl: server.url };
      const yaml = await writeScene({ name: "soak", to: "store" }, stage, place);
      const unmount = await mountSpool(join(home, "spool"));
      try {
        const told = await playCycle(world, { yaml, home, hasDisk: unmount !== undefined }, report);
        await copyStore(stage.store, join(home, "out"));
        const paths = { exports: join(home, "out", "kills"), spool: join(home, "spool", "kills") };
        const verdict = await judge({ ...paths, identity: key.identity, expected });
        note(report, cycle, told, verdict, performance.now() - started);
        onCycle?.(
          `export ${cycle}: ${typeof verdict === "string" ? verdict : "whole"}, ${told.rssBytes >> 20} MiB`,
        );
      } finally {
        unmount?.();
        stage.store.objects.clear();
        await rm(home, { recursive: true, force: true });
      }
    }
    return report;
  } finally {
    life.kill();
    await admin.end().catch(() => {});
    await stage.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Counting {
  exports: number;
  readonly faults: Record<string, number>;
  readonly ends: Record<string, number>;
  readonly samples: Sample[];
  readonly failures: string[];
}

function note(report: Counting, cycle: number, told: Answer, verdict: string | number, at: number) {
  report.exports += 1;
  report.samples.push({ ...told, atMillis: at });
  if (told.end !== "committed") report.failures.push(`export ${cycle}: ended with ${told.end}`);
  if (typeof verdict === "string") report.failures.push(`export ${cycle}: ${verdict}`);
}

/** A few attempts that are disturbed, then one that is not; it must commit. */
async function playCycle(
  world: World,
  { yaml, home, hasDisk }: { yaml: string; home: string; hasDisk: boolean },
  report: Counting,
): Promise<Answer> {
  const names = Object.keys(faults).filter((name) => hasDisk || name !== "a full disk");
  for (let left = Math.floor(world.random() * 4); left > 0; left -= 1) {
    const name = names[Math.floor(world.random() * names.length)]!;
    const told = await faults[name]!(world, yaml, home);
    const end = typeof told === "string" ? told : told.end;
    report.faults[name] = (report.faults[name] ?? 0) + 1;
    report.ends[end] = (report.ends[end] ?? 0) + 1;
  }
  return await live(world, { yaml });
}

/** A small disk of its own for the spool; undefined where nothing may be mounted. */
async function mountSpool(path: string): Promise<(() => void) | undefined> {
  await mkdir(path, { mode: 0o700 });
  try {
    const options = `size=${diskBytes},mode=0700`;
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], { stdio: "ignore" });
    return () => void execFileSync("umount", ["-l", path]);
  } catch {
    return undefined;
  }
}

const range = (values: readonly number[]) => `${Math.min(...values)}–${Math.max(...values)}`;

if (import.meta.main) {
  const values = readOptions({ minutes: 3, rows: 20_000 });
  const { exports, samples, failures, ...counts } = await soak({
    ...values,
    onCycle: tellProgress,
  });
  tellFailures(failures);
  // The first runs load what is loaded once.
  const steady = samples.slice(Math.ceil(samples.length / 4));
  const slope = (of: (sample: Sample) => number) =>
    slopeOf(steady.map((sample) => ({ x: sample.atMillis / 3.6e6, y: of(sample) })));
  const told = ({ slope, error }: { slope: number; error: number }) =>
    `${slope.toFixed(1)} ± ${error.toFixed(1)}`;
  process.stdout.write(
    `${exports} exports, ${failures.length} failures, seed ${values.seed}\n` +
      `faults: ${JSON.stringify(counts.faults)}\nended with: ${JSON.stringify(counts.ends)}\n` +
      `RSS ${range(steady.map(({ rssBytes }) => Math.round(rssBytes / 2 ** 20)))} MiB, ` +
      `slope ${told(slope(({ rssBytes }) => rssBytes / 2 ** 20))} MiB/h; ` +
      `heap slope ${told(slope(({ heapBytes }) => heapBytes / 2 ** 20))} MiB/h\n` +
      `descriptors ${range(steady.map(({ descriptors }) => descriptors))}, ` +
      `threads ${range(steady.map(({ threads }) => threads))}, ` +
      `handles ${range(steady.map(({ handles }) => handles))}\n`,
  );
}
