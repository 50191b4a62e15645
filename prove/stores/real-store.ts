/** The proof of stores before real ones, Ceph RGW and OpenSSH, behind a network that cuts connections at every few answers. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../src/pipeline/run.ts";
import { connect } from "../../src/stages/destinations/s3-request.ts";
import { targetOf } from "../../src/stages/destinations/s3-target.ts";
import { startRgw } from "../../test/servers/rgw.ts";
import { startSshd } from "../../test/servers/sshd.ts";
import { startTcpProxy, type TcpProxy } from "../../test/servers/tcp-proxy.ts";
import { seededRandom } from "../seeded.ts";
import {
  bucket,
  judgeStore,
  pipelineOf,
  prepare,
  type Exported,
  type S3,
  type StoreReport,
  type StoreTrials,
} from "./oracle.ts";

interface RealStore {
  readonly port: number;
  /** Where a trial exports to, through a proxy. */
  place(port: number, trial: number): { readonly to: string; readonly s3: S3 };
  /** A connection is cut when up to twenty times as many bytes of answers have come. */
  readonly answerBytes: number;
  stop(): Promise<void>;
}

async function startCeph(): Promise<RealStore> {
  const rgw = await startRgw();
  const { accessKeyId, secretAccessKey } = rgw;
  await makeBucket({ accessKeyId, secretAccessKey, endpoint: rgw.endpoint });
  const place = (port: number, trial: number) => ({
    to: `s3://${bucket}/${trial}`,
    s3: { accessKeyId, secretAccessKey, endpoint: `http://127.0.0.1:${port}` },
  });
  const { port } = new URL(rgw.endpoint);
  return { port: Number(port), place, answerBytes: 400, stop: () => rgw.stop() };
}

/** All uploads share one connection here, and lose it together. */
async function startOpenSsh(): Promise<RealStore> {
  const { port, user, root, hostKey, privateKey, stop } = await startSshd();
  const variables = { SPILLWAY_SFTP_KEY: privateKey, SPILLWAY_SFTP_HOST_KEY: hostKey };
  Object.assign(process.env, variables);
  const place = (proxy: number, trial: number) => ({
    to: `sftp://${user}@127.0.0.1:${proxy}${root}/${trial}`,
    s3: {},
  });
  return {
    port,
    place,
    answerBytes: 3000,
    stop() {
      for (const name of Object.keys(variables)) Reflect.deleteProperty(process.env, name);
      return stop();
    },
  };
}

const realStores = { s3: startCeph, sftp: startOpenSsh };

/** Runs trials against one store; `lost` counts answers that were cut off. */
export async function proveRealStore(
  options: StoreTrials,
  kind: keyof typeof realStores = "s3",
): Promise<StoreReport> {
  const { trials, seed, rows, lost: wanted = 0, onTrial } = options;
  const folder = await mkdtemp(join(tmpdir(), "spillway-real-store-"));
  const random = seededRandom(seed);
  const store = await realStores[kind]();
  const proxy = await startTcpProxy(store.port);
  const sum = { uploads: 0, lost: 0 };
  const failures: string[] = [];
  let trial = 0;
  try {
    const exported = await prepare(folder, rows, seed);
    for (; trial < trials || sum.lost < wanted; trial += 1) {
      const cuts = cutAnswers(proxy, random, store.answerBytes);
      const place = { dir: join(folder, `${trial}`), ...store.place(proxy.port, trial) };
      const result = await runTrial(exported, place, cuts).catch((error: unknown) => ({
        uploads: 0,
        wrong: String(error),
      }));
      cuts.end();
      sum.uploads += result.uploads;
      sum.lost += cuts.count;
      if (result.wrong !== undefined) failures.push(`trial ${trial}: ${result.wrong}`);
      onTrial?.(`trial ${trial}: ${JSON.stringify({ ...result, cuts: cuts.count })}`);
    }
    return { trials: trial, seed, failures, stops: 0, ...sum };
  } finally {
    await proxy.close();
    await store.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function runTrial(
  exported: Exported,
  place: { readonly dir: string; readonly to: string; readonly s3: S3 },
  cuts: Cuts,
): Promise<{ uploads: number; wrong: string | undefined }> {
  const { dir, to, s3 } = place;
  const { runId, pages } = await run(pipelineOf(exported, dir, to, s3), { env: exported.env });
  cuts.end();
  return { uploads: pages + 3, wrong: await judgeStore(exported, { ...place, runs: [runId] }) };
}

interface Cuts {
  readonly count: number;
  end(): void;
}

/** Resets a connection in the middle of about every tenth answer. */
function cutAnswers(proxy: TcpProxy, random: () => number, usualAnswerBytes: number): Cuts {
  let count = -1;
  let next = 0;
  const timer = setInterval(() => {
    if (proxy.bytesToClient < next) return;
    count += 1;
    const bytes = Math.floor(random() * 20 * usualAnswerBytes);
    next = proxy.bytesToClient + bytes;
    proxy.cutAfter(bytes);
  }, 1);
  return {
    get count() {
      return Math.max(0, count);
    },
    end() {
      clearInterval(timer);
      proxy.cutAfter(Number.POSITIVE_INFINITY);
    },
  };
}

async function makeBucket(s3: S3): Promise<void> {
  const connection = connect(targetOf(new URL(`s3://${bucket}`), s3, {}), 10_000);
  const request = { method: "PUT", headers: { "content-length": "0" } } as const;
  const { status } = await connection.send(request, new AbortController().signal);
  connection.close();
  if (status !== 200) throw new Error(`the bucket could not be made (${status})`);
}
