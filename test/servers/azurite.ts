/**
 * A real server of Azure's blob protocol for tests: Azurite, Microsoft's own emulator, where it is on this machine. It is
 * too large to be a dependency: `npm install --global azurite`, or its `azurite-blob` somewhere on the PATH.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const startMillis = 20_000;

export interface Azurite {
  readonly account: string;
  readonly accountKey: string;
  readonly endpoint: string;
  stop(): Promise<void>;
}

export function azuriteInstalled(): boolean {
  return spawnSync("which", ["azurite-blob"]).status === 0;
}

/** Starts it with one account and no container, all in memory. */
export async function startAzurite(): Promise<Azurite> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-azurite-"));
  const [account, accountKey] = ["spillwaytests", randomBytes(64).toString("base64")];
  const args = ["--inMemoryPersistence", "--disableTelemetry", "--silent", "--blobPort", "0"];
  const child = spawn("azurite-blob", args, {
    cwd: folder,
    env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${accountKey}` },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const stop = async () => {
    process.off("exit", kill);
    await ended(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const origin = await originOf(child);
    return { account, accountKey, endpoint: `${origin}/${account}`, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It says where it listens. */
async function originOf(child: ChildProcess): Promise<string> {
  const timer = setTimeout(() => child.kill("SIGKILL"), startMillis);
  let said = "";
  try {
    for await (const piece of child.stdout!) {
      said += String(piece);
      const origin = /successfully listens on (http:\/\/[\d.]+:\d+)/i.exec(said)?.[1];
      if (origin !== undefined) return origin;
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`Azurite did not start; its last words: ${said.slice(-300)}`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}
