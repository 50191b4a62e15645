/**
 * A real SSH server for tests: OpenSSH's own, from Debian's `openssh-server`, for the user who runs the tests and with keys
 * made for it alone. Everything lies in a temporary folder.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

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
  const folder = await mkdtemp(join(tmpdir(), "spillway-sshd-"));
  const at = (name: string) => join(folder, name);
  for (const name of ["host", "user"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", at(name)]);
  const port = await freePort();
  await writeFile(at("config"), configText(folder, port));
  await mkdir(at("root"));
  // Its own folder of privileges, which a started service would have made.
  if (userInfo().uid === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const child = spawn(pathOfSshd()!, ["-D", "-e", "-f", at("config")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said: string[] = [];
  child.stderr.on("data", (piece) => void said.push(String(piece)));
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const stop = async () => {
    process.off("exit", kill);
    await ended(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilListens(port, child);
  } catch (error) {
    await stop();
    throw new Error(`sshd did not start; its last words: ${said.join("").slice(-300)}`, {
      cause: error,
    });
  }
  const fingerprint = execFileSync("ssh-keygen", ["-l", "-f", at("host.pub")], {
    encoding: "utf8",
  });
  return {
    port,
    user: userInfo().username,
    hostKey: fingerprint.split(" ")[1]!,
    hostLine: (await readFile(at("host.pub"), "utf8")).split(" ").slice(0, 2).join(" "),
    privateKey: await readFile(at("user"), "utf8"),
    root: at("root"),
    stop,
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

async function untilListens(port: number, child: ChildProcess): Promise<void> {
  for (let left = startMillis / 50; left > 0; left -= 1) {
    if (child.exitCode !== null) throw new Error("it ended");
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1", () => resolve(true));
      socket.once("error", () => resolve(false)).once("data", () => socket.destroy());
    });
    if (isThere) return;
    await sleep(50);
  }
  throw new Error(`nobody listens after ${startMillis} ms`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
