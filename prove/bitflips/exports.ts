/** Damage to what lies at the destination: every reader must refuse it, and release nothing that is not authentic. */
import { cp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { PipelineError } from "../../src/errors.ts";
import { manifestName, signatureName, sumsName } from "../../src/pipeline/manifest.ts";
import { run } from "../../src/pipeline/run.ts";
import { readExport, readPages } from "../../src/readback/read-export.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { createKey } from "../../test/fixtures/keys.ts";
import { countedRows, makePipeline, testEnv } from "../../test/fixtures/pipelines.ts";
import { damagesOf, type Sample, type Tally } from "./damage.ts";

/** A sound export and a folder beside it, of the same name, in which it is damaged. */
export interface Golden {
  readonly folder: string;
  readonly damaged: string;
  readonly identity: string;
  readonly signer: string;
  /** The stored objects by name. */
  readonly objects: ReadonlyMap<string, Buffer>;
  /** The records of each page. */
  readonly pages: readonly Buffer[];
  readonly records: Buffer;
}

export const signedNames: readonly string[] = [manifestName, signatureName, sumsName];

/** Runs the whole pipeline; `mark` makes the rows of one run differ from those of another. */
export async function makeGolden(root: string, mark: string): Promise<Golden> {
  const { identity, recipient } = await createKey();
  const row = (id: number) => ({ id, mark, text: `row ${id} `.repeat(6) });
  const pipeline = makePipeline({
    source: countedRows({ rows: 130, row }),
    dir: join(root, `spool-${mark}`),
    to: join(root, "out"),
    encrypt: { to: recipient },
  });
  const { runId, signer } = await run(pipeline, { env: testEnv });
  const folder = join(root, "out/observations", runId);
  const damaged = join(root, "damaged/observations", runId);
  await cp(folder, damaged, { recursive: true });
  const names = (await readdir(folder)).toSorted();
  const read = await Promise.all(names.map((name) => readFile(join(folder, name))));
  const pages: Buffer[] = [];
  for await (const { content } of readPages(folder, { identity })) pages.push(Buffer.from(content));
  return {
    folder,
    damaged,
    identity,
    signer,
    objects: new Map(names.map((name, i) => [name, read[i]!])),
    pages,
    records: Buffer.concat(pages),
  };
}

/** Puts everything back that `change` did. */
export async function withDamage<T>(
  golden: Golden,
  change: () => Promise<void>,
  work: () => Promise<T>,
) {
  try {
    await change();
    return await work();
  } finally {
    const left = new Set(await readdir(golden.damaged));
    for (const [name, bytes] of golden.objects) {
      left.delete(name);
      await writeFile(join(golden.damaged, name), bytes);
    }
    for (const name of left) await rm(join(golden.damaged, name), { recursive: true });
  }
}

/** Flips, cuts and additions, of every object. */
export async function proveExports(golden: Golden, sample: Sample): Promise<Tally> {
  const failures: string[] = [];
  let trials = 0;
  for (const [name, bytes] of golden.objects) {
    for (const damage of damagesOf(bytes.length, sample)) {
      trials += 1;
      const change = () => writeFile(join(golden.damaged, name), damage.apply(bytes));
      const readable = name === sumsName;
      const missed = await withDamage(golden, change, () => findMissed(golden, { readable }));
      if (missed !== undefined) failures.push(`${name}, ${damage.name}: ${missed}`);
    }
  }
  return { trials, failures };
}

interface Expected {
  /** The pages and the manifest are whole: who only reads these may read on. */
  readonly readable?: boolean;
  /** The signer is demanded. */
  readonly signer?: string;
}

/** @returns which reader did not notice, or released what it should not have */
export async function findMissed(golden: Golden, expected: Expected): Promise<string | undefined> {
  const { damaged, identity } = golden;
  const { signer, readable = false } = expected;
  const options = { identity, ...(signer !== undefined && { signer }) };
  for (const level of ["bytes", "full"] as const) {
    const sound = await verifyExport(damaged, { level, ...options }).then(({ ok }) => ok, refused);
    if (sound) return `verify --level ${level} finds nothing`;
  }
  const released: Buffer[] = [];
  const to = new Writable({
    write(bytes: Buffer, _encoding, done) {
      released.push(Buffer.from(bytes));
      done();
    },
  });
  const restored = await restoreExport(damaged, { to, ...options }).then(() => true, refused);
  if (restored !== readable)
    return restored ? "restore finds nothing" : "restore refuses what is whole";
  if (!isWholePages(golden, Buffer.concat(released)))
    return "restore released what is not authentic";
  const read = await readRows(damaged, options);
  if (read.ended !== readable)
    return read.ended ? "readExport finds nothing" : "readExport refuses what is whole";
  const rows = golden.records.toString().split("\n").slice(0, read.rows.length);
  return rows.join("\n") === read.rows.join("\n")
    ? undefined
    : "readExport released what is not authentic";
}

/** Refusals are ours, by name; anything else is a defect that passes. */
function refused(error: unknown): false {
  if (error instanceof PipelineError && error.code !== "internal") return false;
  throw error;
}

async function readRows(url: string, options: { readonly identity: string }) {
  const rows: string[] = [];
  try {
    for await (const row of readExport(url, options)) rows.push(JSON.stringify(row));
    return { rows, ended: true };
  } catch (error) {
    return { rows, ended: refused(error) };
  }
}

/** What a reader lets go of is pages, whole, from the first on. */
function isWholePages({ pages }: Golden, released: Buffer): boolean {
  let at = 0;
  for (const page of pages) {
    if (at === released.length) return true;
    if (!released.subarray(at, at + page.length).equals(page)) return false;
    at += page.length;
  }
  return at === released.length;
}
