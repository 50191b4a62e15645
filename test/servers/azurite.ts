/**
 * A real server of Azure's blob protocol for tests: Azurite, Microsoft's own emulator, where it is on this machine. It is
 * too large to be a dependency: `npm install --global azurite`, or its `azurite-blob` somewhere on the PATH.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { type Daemons, startDaemons } from "./daemons.ts";

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
  const [account, accountKey] = ["spillwaytests", randomBytes(64).toString("base64")];
  const args = ["--inMemoryPersistence", "--disableTelemetry", "--silent", "--blobPort", "0"];
  let said = "";
  const start = async ({ folder, own }: Daemons) => {
    const child = own(
      spawn("azurite-blob", args, {
        cwd: folder,
        env: { ...process.env, AZURITE_ACCOUNTS: `${account}:${accountKey}` },
        stdio: ["ignore", "pipe", "inherit"],
      }),
    );
    const origin = await originOf(child, (piece) => (said += piece));
    return { account, accountKey, endpoint: `${origin}/${account}` };
  };
  return startDaemons("azurite", start, () => said);
}

/** It says where it listens. */
async function originOf(child: ChildProcess, hear: (piece: string) => string): Promise<string> {
  const timer = setTimeout(() => child.kill("SIGKILL"), startMillis);
  try {
    for await (const piece of child.stdout!) {
      const said = hear(String(piece));
      const origin = /successfully listens on (http:\/\/[\d.]+:\d+)/i.exec(said)?.[1];
      if (origin !== undefined) return origin;
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error("it ended, or was silent for too long");
}
