/** Programs that a test starts and that must end with it, whatever happens, with the folder they lie in. */
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Daemons {
  readonly folder: string;
  /** Takes a program that was started; gives it back. */
  own(child: ChildProcess): ChildProcess;
  /** Whether one of them has ended. */
  readonly isBroken: boolean;
  /** Ends all and removes the folder. */
  stop(): Promise<void>;
}

/**
 * Makes a folder for what `start` starts in it. Where that fails all of it is stopped again.
 * @param lastWords read from the folder, for who asks why
 */
export async function startDaemons<Started>(
  name: string,
  start: (daemons: Daemons) => Promise<Started>,
  lastWords: (folder: string) => Promise<string> | string,
): Promise<Started & Pick<Daemons, "stop">> {
  const folder = await mkdtemp(join(tmpdir(), `spillway-${name}-`));
  const children: ChildProcess[] = [];
  const killAll = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  process.once("exit", killAll);
  const daemons: Daemons = {
    folder,
    own(child) {
      children.push(child);
      return child;
    },
    get isBroken() {
      return children.some(hasEnded);
    },
    async stop() {
      process.off("exit", killAll);
      await Promise.all(children.map(end));
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    return { ...(await start(daemons)), stop: () => daemons.stop() };
  } catch (error) {
    const words = await Promise.resolve(lastWords(folder)).catch(() => "");
    await daemons.stop();
    throw new Error(`${name} did not start; its last words: ${words.slice(-500)}`, {
      cause: error,
    });
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) =>
  exitCode !== null || signalCode !== null;

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}
