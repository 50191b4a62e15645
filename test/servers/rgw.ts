/**
 * A real S3 store for tests: Ceph RGW with one monitor and one in-memory OSD, from Debian's packages (`radosgw`,
 * `ceph-mon`, `ceph-osd`). Everything lies in a temporary folder; no root rights, containers or manager daemon needed.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type Daemons, startDaemons } from "./daemons.ts";
import { freePort } from "./free-port.ts";

const run = promisify(execFile);
const programs = ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"];
const startMillis = 45_000;

export interface Rgw {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  stop(): Promise<void>;
}

/** Whether all programs of a Ceph RGW are on this machine. */
export function rgwInstalled(): boolean {
  return programs.every((program) => spawnSync("which", [program]).status === 0);
}

/** Starts a store with one user and no buckets; takes one to twelve seconds. */
export const startRgw = (): Promise<Rgw> =>
  startDaemons("rgw", startCluster, (folder) => readFile(join(folder, "radosgw.out"), "utf8"));

async function startCluster(daemons: Daemons) {
  const { folder } = daemons;
  const [monitorPort, port] = [await freePort(), await freePort()];
  const cluster = randomUUID();
  const config = join(folder, "ceph.conf");
  await writeFile(config, configText(folder, cluster, monitorPort));
  for (const name of ["mon", "osd", "rgw"]) await mkdir(join(folder, name));
  const call = (program: string, ...args: string[]) =>
    run(program, ["-c", config, ...args], { timeout: startMillis });
  const daemon = (program: string, ...args: string[]) =>
    void daemons.own(spawnDaemon(folder, program, ["-c", config, "-f", ...args]));

  const map = join(folder, "monmap");
  const address = `[v2:127.0.0.1:${monitorPort}]`;
  await run("monmaptool", ["--create", "--fsid", cluster, "--addv", "a", address, map]);
  await call("ceph-mon", "-i", "a", "--mkfs", "--monmap", map);
  daemon("ceph-mon", "-i", "a");
  const disk = randomUUID();
  await call("ceph", "osd", "new", disk);
  await call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk);
  daemon("ceph-osd", "-i", "0");
  const asUser = ["--auth-client-required=none", "--ms-mon-client-mode=crc", "-n", "client.rgw"];
  daemon("radosgw", ...asUser, `--rgw-frontends=beast endpoint=127.0.0.1:${port}`);
  const endpoint = `http://127.0.0.1:${port}`;
  await untilAnswers(endpoint, daemons);

  const accessKeyId = randomBytes(10).toString("hex").toUpperCase();
  const secretAccessKey = randomBytes(20).toString("hex");
  const keys = [`--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`];
  const names = ["--uid=tester", "--display-name=tester"];
  await call("radosgw-admin", ...asUser, "user", "create", ...names, ...keys);
  return { endpoint, accessKeyId, secretAccessKey };
}

function spawnDaemon(folder: string, program: string, args: string[]): ChildProcess {
  const script = 'out="$1"; shift; exec "$@" >"$out" 2>&1';
  const out = join(folder, `${program}.out`);
  return spawn("sh", ["-c", script, "sh", out, program, ...args], { stdio: "ignore" });
}

async function untilAnswers(endpoint: string, daemons: Daemons): Promise<void> {
  const deadline = Date.now() + startMillis;
  while (Date.now() < deadline) {
    if (daemons.isBroken) throw new Error("a daemon ended");
    const answer = await fetch(endpoint).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    await sleep(50);
  }
  throw new Error(`no answer within ${startMillis} ms`);
}

/** One copy of everything, no authentication inside, and map changes at once instead of one a second. */
function configText(folder: string, cluster: string, monitorPort: number): string {
  return `[global]
fsid = ${cluster}
mon host = v2:127.0.0.1:${monitorPort}
mon initial members = a
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
run dir = ${folder}
admin socket =
pid file =
log file = ${folder}/$name.log
log to stderr = false
mon cluster log file = ${folder}/cluster.log
mon data = ${folder}/mon
mon allow pool size one = true
mon data avail crit = 0
mon data avail warn = 0
paxos propose interval = 0.05
paxos min wait = 0.01
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 2
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 1000
rgw data = ${folder}/rgw
rgw run sync thread = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw override bucket index max shards = 1
`;
}
