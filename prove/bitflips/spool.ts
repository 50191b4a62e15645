/** Damage to what lies in the spool: a run that is taken up refuses it or makes it anew, and never stores it. */
import { generateKeyPairSync, hash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { PipelineError } from "../../src/errors.ts";
import { commitRun } from "../../src/pipeline/commit.ts";
import { publicText } from "../../src/pipeline/manifest-signature.ts";
import type { Plan } from "../../src/pipeline/plan-types.ts";
import { openRunFolder, type RunFolder } from "../../src/pipeline/run-folder.ts";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import { openDestination } from "../../src/stages/destinations/schemes.ts";
import { openSpool, type Spool } from "../../src/stages/pages/spool-store.ts";
import { makeSealed, never } from "../../test/fixtures/pages.ts";
import { damagesOf, sumOf, type Sample, type Tally } from "./damage.ts";

const pages = 6;
const { privateKey } = generateKeyPairSync("ed25519");
const key = { privateKey, publicText: publicText(privateKey), publicPem: "", made: false };
const plan = { keepsRows: true, layers: { compress: "zstd", encrypt: "age" } } as Plan;

export async function proveSpool(root: string, sample: Sample): Promise<Tally> {
  return sumOf([
    await provePageFiles(join(root, "pages"), sample),
    await proveSmallFiles(join(root, "stored"), sample, /00000000/, false),
    await proveSmallFiles(join(root, "commit"), sample, /SHA256SUMS$/, true),
  ]);
}

/** Folders of one pipeline and its destination, as a crash left them; each trial begins with a copy. */
interface Left {
  readonly template: string;
  readonly folder: string;
}

const spoolOf = ({ path, record }: Pick<RunFolder, "path" | "record">): Promise<Spool> =>
  openSpool({
    folder: path,
    maxBytes: 2 ** 30,
    fullTimeoutMillis: 1000,
    key: Buffer.from(record.key, "hex"),
    bufferBytes: 2 ** 18,
    policy: { threshold: 0, writer: "inline" },
  });

const openFolder = (folder: string): Promise<RunFolder> =>
  openRunFolder({
    dir: join(folder, "spool"),
    pipeline: "job",
    configDigest: "c".repeat(64),
    meaning: "",
    destination: "out",
    restart: false,
  });

/** Stores pages that are not there yet, and brings as many as told to the destination. */
async function advance(
  spool: Spool,
  to: number,
  destination: Destination,
  prefix: string,
): Promise<void> {
  for (const page of (await makeSealed(pages)).slice(spool.durable))
    await spool.store(page, never).durable;
  for (let n = spool.acknowledged; n < to; n += 1) {
    const page = await spool.page(n);
    const object = { name: `${prefix}${page.name}`, sha256: page.sealedDigest };
    await destination.put({ ...object, bytes: await spool.read(page) }, never);
    await spool.acknowledge(page, never);
  }
}

/** Half a run: three pages are acknowledged, three wait. */
async function provePageFiles(root: string, sample: Sample): Promise<Tally> {
  const left = { template: join(root, "template"), folder: join(root, "folder") };
  await mkdir(root, { recursive: true });
  const sealed = await makeSealed(pages);
  const destination = await openDestination(join(root, "out"), { timeoutMillis: 5000 });
  const opened = await openFolder(left.template);
  const spool = await spoolOf(opened);
  await advance(spool, 3, destination, "job/run/");
  const acknowledged = await Array.fromAsync(spool.checkpoints());
  const { facts } = spool;
  await spool.close();
  opened.release();

  const judge = async (): Promise<string | undefined> => {
    const taken = await spoolOf({ ...opened, path: join(left.folder, "spool/job") });
    try {
      for (let n = taken.acknowledged; n < taken.durable; n += 1) {
        const bytes = await taken.read(await taken.page(n));
        if (Buffer.compare(bytes, sealed[n]!.content) !== 0)
          return `page ${n} is given with other bytes`;
      }
      const believed = await Array.fromAsync(taken.checkpoints());
      if (!isDeepStrictEqual(believed, acknowledged.slice(0, believed.length)))
        return "the journal says otherwise";
      if (believed.length !== taken.acknowledged) return "the journal is counted otherwise";
      const end = taken.durable === pages ? facts : undefined;
      return isDeepStrictEqual(taken.facts, end) ? undefined : "the end is told otherwise";
    } finally {
      await taken.close();
    }
  };
  const names = (await readdir(join(left.template, "spool/job/pages"))).map(
    (name) => `spool/job/pages/${name}`,
  );
  return damageEach(left, [...names, "spool/job/acks.ndjson"], sample, judge);
}

type Cut = (real: Destination) => Destination;
const whole: Cut = (real) => real;
const cutOff = (begins: RegExp): Cut => {
  return (real) => ({
    ...real,
    put: (object, signal) =>
      begins.test(object.name) ? Promise.reject(new Error("cut off")) : real.put(object, signal),
  });
};

/** Goes on with a run to its commit, or to where it is cut off. */
async function goOn(folder: string, cut: Cut): Promise<void> {
  const destination = cut(await openDestination(join(folder, "out"), { timeoutMillis: 5000 }));
  const opened = await openFolder(folder);
  try {
    const spool = await spoolOf(opened);
    try {
      // Pages whose lines in the journal are lost would be asked of the source again, and differ from those that are stored.
      if (opened.resumed && !spool.facts) return;
      await advance(spool, pages, destination, `job/${opened.record.runId}/`);
      await commitRun({ plan, folder: opened, spool, destination, key, signal: never });
    } finally {
      await spool.close();
    }
  } finally {
    opened.release();
  }
}

/**
 * One commit lies behind; the next run was cut off before its first page was stored, or its last objects.
 * @param isMade the manifest was made before, and must not differ
 */
async function proveSmallFiles(
  root: string,
  sample: Sample,
  at: RegExp,
  isMade: boolean,
): Promise<Tally> {
  const left = { template: join(root, "template"), folder: join(root, "folder") };
  await goOn(left.template, whole);
  await goOn(left.template, cutOff(at)).catch(() => {});
  await reset(left);
  await goOn(left.folder, whole);
  const golden = await objectsOf(left.folder, isMade);

  const judge = async (): Promise<string | undefined> => {
    const refusal = await goOn(left.folder, whole).catch((error: unknown) => error);
    for (const [name, digest] of await objectsOf(left.folder, isMade))
      if (golden.get(name) !== digest) return `${name} was stored, which is not what it should be`;
    if (refusal !== undefined) throw refusal;
    return undefined;
  };
  const names = await readdir(join(left.template, "spool/job"));
  const small = names.filter((name) => /json|SUMS/.test(name)).map((name) => `spool/job/${name}`);
  return damageEach(left, small, sample, judge);
}

/** Digests of what lies at the destination, by name; of a manifest made anew without its time, and without its signature. */
async function objectsOf(folder: string, isMade: boolean): Promise<ReadonlyMap<string, string>> {
  const out = join(folder, "out");
  const entries = await readdir(out, { recursive: true, withFileTypes: true });
  const files = entries.filter(
    (entry) => entry.isFile() && (isMade || !entry.name.endsWith(".sig")),
  );
  const digests = files.map(async ({ parentPath, name }) => {
    const text = await readFile(join(parentPath, name), "latin1");
    const content = isMade ? text : text.replace(/"finished":.*/, "");
    return [join(parentPath, name).slice(out.length), hash("sha256", content)] as const;
  });
  return new Map(await Promise.all(digests));
}

async function reset({ template, folder }: Left): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await cp(template, folder, { recursive: true });
}

async function damageEach(
  left: Left,
  names: readonly string[],
  sample: Sample,
  judge: () => Promise<string | undefined>,
): Promise<Tally> {
  const failures: string[] = [];
  let trials = 0;
  for (const name of names) {
    const bytes = await readFile(join(left.template, name));
    for (const damage of damagesOf(bytes.length, sample)) {
      trials += 1;
      await reset(left);
      await writeFile(join(left.folder, name), damage.apply(bytes));
      const missed = await judge().catch(unlessRefused);
      if (missed !== undefined) failures.push(`${name}, ${damage.name}: ${missed}`);
    }
  }
  return { trials, failures };
}

/** A refusal says what is damaged, or that this is another run; whatever else is thrown is a defect. */
function unlessRefused(error: unknown): string | undefined {
  const codes = ["integrity-failed", "config-changed"];
  if (error instanceof PipelineError && codes.includes(error.code)) return undefined;
  return `an unexpected error: ${String(error)}`;
}
