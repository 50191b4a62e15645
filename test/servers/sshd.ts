/**
 * A real SSH server for tests: OpenSSH's own, from Debian's `openssh-server`, for the user who runs the tests and with keys
 * made for it alone. Everything lies in a temporary folder.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Daemons, startDaemons } from "./daemons.ts";
import { freePort } from "./free-port.ts";

const startMillis = 10_000;

export interface Sshd {
  readonly port: number;
  readonly user: string;
  /** `SHA256:…` of its key, and the key itself as a line of `known_hosts` has it. */
  readonly hostKey: string;
  readonly hostLine: string;
  readonly privateKey: string;
  /** The folder exports go to. */
  readonly root: string;
  stop(): Promise<void>;
}

function pathOfSshd(): string | undefined {
  const found = spawnSync("which", ["sshd"], { encoding: "utf8" }).stdout.trim();
  return [found, "/usr/sbin/sshd"].find((path) => path !== "" && existsSync(path));
}

/** Whether sshd is there and may run. */
export function sshdInstalled(): boolean {
  return pathOfSshd() !== undefined;
}

export async function startSshd(): Promise<Sshd> {
  const said: string[] = [];
  const start = async (daemons: Daemons) => {
    const { folder } = daemons;
    const at = (name: string) => join(folder, name);
    for (const name of ["host", "user"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", at(name)]);
    const port = await freePort();
    await writeFile(at("config"), configText(folder, port));
    await mkdir(at("root"));
    // Its own folder of privileges, which a started service would have made.
    if (userInfo().uid === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
    const child = daemons.own(
      spawn(pathOfSshd()!, ["-D", "-e", "-f", at("config")], {
        stdio: ["ignore", "ignore", "pipe"],
      }),
    );
    child.stderr!.on("data", (piece) => void said.push(String(piece)));
    await untilListens(port, daemons);
    return { port, root: at("root"), user: userInfo().username, ...(await keysIn(folder)) };
  };
  return startDaemons("sshd", start, () => said.join(""));
}

async function keysIn(folder: string) {
  const at = (name: string) => join(folder, name);
  const fingerprint = execFileSync("ssh-keygen", ["-l", "-f", at("host.pub")], {
    encoding: "utf8",
  });
  return {
    hostKey: fingerprint.split(" ")[1]!,
    hostLine: (await readFile(at("host.pub"), "utf8")).split(" ").slice(0, 2).join(" "),
    privateKey: await readFile(at("user"), "utf8"),
  };
}

const configText = (folder: string, port: number) => `
Port ${port}
ListenAddress 127.0.0.1
HostKey ${folder}/host
PidFile none
AuthorizedKeysFile ${folder}/user.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
`;

async function untilListens(port: number, daemons: Daemons): Promise<void> {
  for (let left = startMillis / 50; left > 0; left -= 1) {
    if (daemons.isBroken) throw new Error("it ended");
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1", () => resolve(true));
      socket.once("error", () => resolve(false)).once("data", () => socket.destroy());
    });
    if (isThere) return;
    await sleep(50);
  }
  throw new Error(`nobody listens after ${startMillis} ms`);
}
