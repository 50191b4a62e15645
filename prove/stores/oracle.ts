/** The rows a proof of stores exports, the pipeline that exports them, and what must lie at the store when it is over. */
import { createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { definePipeline, type Pipeline } from "../../src/pipeline/define.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import type {
  DestinationOptions,
  ListedObject,
} from "../../src/stages/destinations/destination.ts";
import { openDestination } from "../../src/stages/destinations/schemes.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { ndjson } from "../../src/stages/sources/ndjson.ts";
import { createKey } from "../../test/fixtures/keys.ts";

export const bucket = "exports";
const pipelineName = "stores";

export interface StoreTrials {
  /** At least so many. */
  readonly trials: number;
  readonly seed: number;
  readonly rows: number;
  /** Goes on until so many uploads have lost their answer. */
  readonly lost?: number;
  readonly onTrial?: (line: string) => void;
}

export interface StoreReport {
  readonly trials: number;
  readonly seed: number;
  readonly uploads: number;
  /** Uploads that were stored and whose answer was lost. */
  readonly lost: number;
  /** Runs that ended as the fault of a store that was worse than anyone's patience, and were taken up. */
  readonly stops: number;
  readonly failures: readonly string[];
}

/** What a run may end with when the store is at fault. */
export const storesFault: ReadonlySet<string> = new Set([
  "destination-unreachable",
  "destination-failed",
  "destination-refused",
]);

/** What every trial of a proof shares. */
export interface Exported {
  /** The file of rows. */
  readonly path: string;
  /** SHA-256 of all rows, as they must come back. */
  readonly digest: string;
  readonly key: Awaited<ReturnType<typeof createKey>>;
  readonly env: Readonly<Record<string, string>>;
}

export type S3 = NonNullable<DestinationOptions["s3"]>;

/** Makes rows in `folder`, and keys. */
export async function prepare(folder: string, rows: number, seed: number): Promise<Exported> {
  const path = join(folder, "rows.ndjson");
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
  return {
    path,
    digest: await writeRows(path, rows, seed),
    key: await createKey(),
    env: { SIGN_KEY: pem.toString() },
  };
}

/** Writes rows whose payload is a function of seed and number; gives their digest. */
async function writeRows(path: string, rows: number, seed: number): Promise<string> {
  const file = createWriteStream(path);
  const digest = createHash("sha256");
  for (let id = 0; id < rows; id += 1) {
    const payload = createHash("sha256").update(`${seed} ${id}`).digest("base64url");
    // Pages that compress well need little memory on their way: many of them meet the store at once.
    const line = `${JSON.stringify({ id, payload, padding: ".".repeat(4000) })}\n`;
    digest.update(line);
    if (!file.write(line)) await once(file, "drain");
  }
  file.end();
  await once(file, "close");
  return digest.digest("hex");
}

/** An export in small pages, many of them on their way at once. */
export const pipelineOf = ({ path, key }: Exported, dir: string, to: string, s3: S3): Pipeline =>
  definePipeline({
    name: pipelineName,
    memory: "512MiB",
    sign: "${env:SIGN_KEY}",
    stages: [
      ndjson(path),
      serialize("ndjson"),
      chunk("64KiB"),
      compress("zstd"),
      encrypt({ to: key.recipient }),
      spool(dir),
      upload({ to, concurrency: 64, timeout: "60s", ...s3 }),
    ],
  });

/** @returns what is wrong at a healthy store where runs have ended, or undefined when all is as it must be */
export async function judgeStore(
  exported: Exported,
  { dir, to, s3, runs }: { dir: string; to: string; s3: S3; runs: readonly string[] },
): Promise<string | undefined> {
  const committed = new Map<string, ListedObject[]>();
  const destination = await openDestination(to, { s3, timeoutMillis: 10_000 });
  for await (const object of destination.list("", new AbortController().signal)) {
    const [, run = ""] = object.name.split("/");
    committed.set(run, [...(committed.get(run) ?? []), object]);
  }
  await destination.close();
  const strange = [...committed.keys()].filter((run) => !runs.includes(run));
  if (strange.length > 0)
    return `objects of ${strange.join(", ")} lie there, which nobody committed`;
  for (const run of runs) {
    const wrong = await judgeRun(exported, `${to}/${pipelineName}/${run}`, s3, committed.get(run));
    if (wrong !== undefined) return `${run}: ${wrong}`;
  }
  const left = (await readdir(join(dir, pipelineName))).filter(
    (name) => name !== "lock.db" && !/^last-[0-9a-f]{16}\.json$/.test(name),
  );
  return left.length > 0 ? `the spool still holds ${left.join(", ")}` : undefined;
}

async function judgeRun(
  { digest, key }: Exported,
  url: string,
  s3: S3,
  objects: readonly ListedObject[] = [],
): Promise<string | undefined> {
  const report = await verifyExport(url, { level: "full", identity: key.identity, s3 });
  if (!report.ok) return `verify found ${JSON.stringify(report.problems[0])}`;
  // Pages, sums, manifest and signature: an object more would be a double.
  if (objects.length !== report.pages + 3)
    return `${objects.length} objects for ${report.pages} pages`;
  const restored = createHash("sha256");
  const to = new Writable({
    write(bytes: Buffer, _encoding, done) {
      restored.update(bytes);
      done();
    },
  });
  await restoreExport(url, { to, identity: key.identity, s3 });
  return restored.digest("hex") === digest ? undefined : "it restores to other rows";
}
