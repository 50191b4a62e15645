/**
 * Proves that of many starts of one pipeline at the same instant exactly one runs, and that the kernel gives the lock
 * back when its holder dies, and not before.
 *
 *   npm run prove:starts -- --rounds 1000 --starts 20
 *
 * The processes stand ready and take the lock at one agreed instant. Then, in turn: the holder gives it back, is killed,
 * or is stopped (SIGSTOP) and asked for its lock before it is killed.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { PipelineError } from "../src/errors.ts";
import { takeLock } from "../src/stages/pages/spool-lock.ts";
import { startCommands } from "./starts/commands.ts";

export interface StartRounds {
  readonly rounds: number;
  /** Processes that start at once. */
  readonly starts: number;
  /** Rounds of whole commands, after those of the lock alone. */
  readonly commands?: number;
}

export interface StartReport {
  readonly rounds: number;
  readonly failures: readonly string[];
}

type Outcome = { readonly held: true } | { readonly held: false; readonly message: string };

/** All are asleep until then, so that they wake up together. */
const leadMillis = 30;
const ends = ["released", "killed", "stopped"] as const;

export async function proveStarts(options: StartRounds): Promise<StartReport> {
  const { rounds, starts, commands = 0 } = options;
  const folder = await mkdtemp(join(tmpdir(), "spillway-starts-"));
  const failures: string[] = [];
  const children = await Promise.all(Array.from({ length: starts }, startChild));
  try {
    for (let round = 0; round < rounds; round += 1) {
      const end = ends[round % ends.length]!;
      const failure = await playRound(children, join(folder, `${round % 10}.db`), end);
      if (failure) failures.push(`round ${round} (${end}): ${failure}`);
    }
    for (let round = 0; round < commands; round += 1) {
      const failure = await startCommands(join(folder, `commands-${round}`), starts);
      if (failure) failures.push(`commands, round ${round}: ${failure}`);
    }
    return { rounds: rounds + commands, failures };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

/** @returns what was wrong, or undefined */
async function playRound(
  children: ChildProcess[],
  path: string,
  end: (typeof ends)[number],
): Promise<string | undefined> {
  const at = Date.now() + leadMillis;
  const outcomes = await Promise.all(
    children.map((child) => ask<Outcome>(child, { take: path, at })),
  );
  const holders = children.filter((_, i) => outcomes[i]!.held);
  const [holder] = holders;
  if (!holder || holders.length > 1) return `${holders.length} of ${children.length} run`;
  const named = `(process ${holder.pid})`;
  const silent = outcomes.filter((outcome) => !outcome.held && !outcome.message.includes(named));
  if (silent.length > 0) return `${silent.length} refusals do not name ${holder.pid}`;
  if (end === "released") await ask(holder, { release: true });
  if (end === "stopped") holder.kill("SIGSTOP");
  if (end === "stopped" && isFree(path)) return "the lock of a stopped process was free";
  if (end !== "released") await replace(children, holder);
  return isFree(path) ? undefined : "the lock is not free";
}

async function replace(children: ChildProcess[], dead: ChildProcess): Promise<void> {
  dead.kill("SIGKILL");
  if (dead.exitCode === null && dead.signalCode === null) await once(dead, "exit");
  children[children.indexOf(dead)] = await startChild();
}

function isFree(path: string): boolean {
  try {
    takeLock(path, "starts").release();
    return true;
  } catch {
    return false;
  }
}

async function startChild(): Promise<ChildProcess> {
  const child = fork(import.meta.filename, ["--contend"]);
  await once(child, "message");
  return child;
}

async function ask<Answer>(child: ChildProcess, question: object): Promise<Answer> {
  child.send(question);
  const [answer] = (await once(child, "message")) as [Answer];
  return answer;
}

/** One of the starting processes: takes and releases as it is told. */
function contend(): void {
  let lock: { release(): void } | undefined;
  process.on("message", ({ take, at }: { take?: string; at?: number }) => {
    if (take === undefined) {
      lock?.release();
      process.send!({ released: true });
      return;
    }
    while (Date.now() < at!);
    try {
      lock = takeLock(take, "starts");
      process.send!({ held: true });
    } catch (error) {
      const message = error instanceof PipelineError ? error.message : String(error);
      process.send!({ held: false, message });
    }
  });
  process.send!("ready");
}

if (process.argv.includes("--contend")) contend();
else if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "300" },
      starts: { type: "string", default: "20" },
      commands: { type: "string", default: "3" },
    },
  });
  const report = await proveStarts({
    rounds: Number(values.rounds),
    starts: Number(values.starts),
  });
  for (const failure of report.failures) process.stdout.write(`${failure}\n`);
  process.stdout.write(
    `${report.rounds} rounds of ${values.starts} starts, ${report.failures.length} failures\n`,
  );
  process.exitCode = report.failures.length > 0 ? 1 : 0;
}
