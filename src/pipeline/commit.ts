/**
 * The end of a run: SHA256SUMS, the signature and, last of all, the manifest; then proof that the manifest is there.
 * Every step may be repeated after a crash: the manifest is made once, durably, and the same bytes are stored again.
 */
import { hash } from "node:crypto";
import { join } from "node:path";
import { PipelineError, assert } from "../errors.ts";
import type { Destination, StoredObject } from "../stages/destinations/destination.ts";
import { syncFolder } from "../stages/durable-file.ts";
import type { FinalFacts } from "../stages/nouns.ts";
import type { Checkpoint } from "../stages/pages/checkpoint.ts";
import { assertComplete } from "../stages/pages/page-states.ts";
import type { Pressure } from "../stages/pressure.ts";
import { onDisk } from "../stages/pages/spool-room.ts";
import type { Spool } from "../stages/pages/spool-store.ts";
import { realWorld, type World } from "../stages/world.ts";
import { provePagesStored, proveStored } from "./commit-proof.ts";
import { readSignedManifest, signManifest, type SignedManifest } from "./manifest-signature.ts";
import {
  draftName,
  manifestName,
  signatureName,
  sumsName,
  writeManifest,
  writeSums,
  type ManifestHead,
  type PageEntry,
} from "./manifest.ts";
import type { Plan } from "./plan-types.ts";
import { describeOwn, readOwn, writeOwn } from "./own-files.ts";
import { hasFile, type Place } from "./run-files.ts";
import type { LastCommit, RunFolder } from "./run-folder.ts";
import { lastStepDamaged } from "./run-folder-unfinished.ts";
import type { SigningKey } from "./signing-key.ts";
import { toolVersion } from "./version.ts";

export interface CommitInit {
  readonly plan: Plan;
  readonly folder: RunFolder;
  readonly spool: Spool;
  readonly destination: Destination;
  readonly key: SigningKey;
  readonly signal: AbortSignal;
  /** Told of each page that is walked past; nobody where none is given. */
  readonly pressure?: Pressure;
  /** Disk and clock; the real ones where none are given. */
  readonly world?: World;
}

/** What a page leaves to the collector, about, each time the pages are walked. */
const pageGarbageBytes = 4096;

/** The pages in order, however many, with an eye on memory. */
async function* walk({ spool, pressure }: CommitInit): AsyncGenerator<Checkpoint> {
  for await (const page of spool.checkpoints()) {
    pressure?.passed(pageGarbageBytes);
    yield page;
  }
}

/**
 * Makes the run visible: COMMITTED when it returns, and everything of it released from the spool.
 * @throws PipelineError `integrity-failed` when the destination gives back another manifest
 */
export async function commitRun(init: CommitInit): Promise<LastCommit> {
  const { folder, destination, signal } = init;
  const { disk } = init.world ?? realWorld;
  const place = { disk, path: folder.path };
  const isMade = await hasFile(place, manifestName);
  const totals = await countPages(init, isMade);
  // They follow from the journal, so that none from an earlier attempt need be believed.
  const sums = await onDisk(() => writeOwn(place, sumsName, writeSums(entries(walk(init)))));
  if (!isMade) await onDisk(() => writeOnce(init, place, totals));
  const { signature, ...signed } = await checkOwnManifest(place, folder.record.runId);
  const prefix = `${folder.record.pipeline}/${folder.record.runId}/`;
  await provePagesStored({ ...init, pages: walk(init) }, place, prefix);
  const put = (name: string, object: Omit<StoredObject, "name">) =>
    destination.put({ name: prefix + name, ...object }, signal);
  await put(sumsName, await describeOwn(place, sumsName, sums));
  await put(signatureName, { bytes: signature, sha256: hash("sha256", signature, "buffer") });
  await put(manifestName, await describeOwn(place, manifestName, signed.sha256));
  await proveStored(destination, prefix + manifestName, signed.sha256, signal);
  await destination.finish(signal);
  const last: LastCommit = {
    runId: folder.record.runId,
    generation: generationOf(folder),
    manifestDigest: signed.sha256,
    signer: signed.signer,
    layers: signed.head.layers,
    ...totals,
  };
  await init.spool.close();
  await folder.commit(last);
  return last;
}

/** The manifest may be of an earlier attempt, under an earlier key: its own signature says whose it is, and that it is whole. */
async function checkOwnManifest(
  place: Place,
  runId: string,
  name = manifestName,
): Promise<SignedManifest & { readonly signature: Uint8Array }> {
  const { disk, path } = place;
  const signature = await onDisk(() => disk.readFile(join(path, signatureName)));
  const damaged = (how: string, cause?: unknown) =>
    lastStepDamaged(`${join(path, name)} is ${how}`, cause);
  const signed = await readSignedManifest(readOwn(place, name), signature).catch(
    (error: unknown) => {
      throw isChanged(error) ? damaged("not as it was signed", error) : error;
    },
  );
  if (signed.head.run !== runId) throw damaged("another run's");
  return { ...signed, signature };
}

/** One that was changed may state another format or signer by now. */
const isChanged = (error: unknown): boolean =>
  error instanceof PipelineError &&
  (error.code === "integrity-failed" || error.code === "config-invalid");

const generationOf = ({ last }: RunFolder): number => (last?.generation ?? 0) + 1;

type Totals = Omit<LastCommit, "runId" | "generation" | "manifestDigest" | "signer" | "layers">;

const factsOf = ({ facts }: Spool): FinalFacts => {
  assert(facts, "a run is committed after its final page is durable");
  return facts;
};

/** A manifest that is made was checked then, by the stages that the run had. */
async function countPages(init: CommitInit, isMade: boolean): Promise<Totals> {
  const { plan, spool } = init;
  const { end } = factsOf(spool);
  const totals = { rows: 0, pages: 0, bytesIn: 0, bytesOut: 0, extension: "" };
  for await (const page of walk(init)) {
    totals.rows += page.records;
    totals.pages += 1;
    totals.bytesIn += page.bytes;
    totals.bytesOut += page.sealedBytes;
    totals.extension = page.name.split(".")[1]!;
  }
  const marks = { acked: spool.acknowledged, durable: spool.durable };
  assertComplete(marks, totals.pages, spool.facts !== undefined);
  if (!isMade && plan.keepsRows && totals.rows !== end.rows) {
    throw new PipelineError(
      "integrity-failed",
      `commit: the source proved ${end.rows} rows but the pages hold ${totals.rows} records; nothing was committed`,
    );
  }
  return { ...totals, consistency: end.consistency.class };
}

/** A manifest holds the time it was made, so it is made once: a later attempt stores the first one's bytes. */
async function writeOnce(init: CommitInit, place: Place, totals: Totals): Promise<void> {
  const { disk, path } = place;
  if (!(await hasDraft(place, init.folder.record.runId))) await writeDraft(init, place, totals);
  await disk.rename(join(path, draftName), join(path, manifestName));
  await syncFolder(path, disk);
}

/** One that is signed is whole. */
async function hasDraft(place: Place, runId: string): Promise<boolean> {
  for (const name of [draftName, signatureName]) if (!(await hasFile(place, name))) return false;
  try {
    await checkOwnManifest(place, runId, draftName);
    return true;
  } catch (error) {
    if (error instanceof PipelineError && error.code === "integrity-failed") return false;
    throw error;
  }
}

async function writeDraft(init: CommitInit, place: Place, totals: Totals): Promise<void> {
  const { folder, key } = init;
  const { record } = folder;
  const tail = () => ({
    rejected: {},
    resumedFrom: folder.resumed ? record.runId : null,
    plainBytes: totals.bytesIn,
  });
  const pages = entries(walk(init));
  const manifest = writeManifest(headOf(init, totals.extension), pages, tail);
  // What is signed is what was written, at either reading.
  const { bytes } = await describeOwn(place, draftName, await writeOwn(place, draftName, manifest));
  await writeOwn(place, signatureName, [await signManifest(bytes.read, key.privateKey)]);
}

function headOf({ plan, folder, spool, key, world }: CommitInit, extension: string): ManifestHead {
  const { record, last } = folder;
  const { columns, end } = factsOf(spool);
  return {
    run: record.runId,
    pipeline: record.pipeline,
    generation: generationOf(folder),
    previous: last?.manifestDigest ?? null,
    tool: { name: "spillway", version: toolVersion },
    started: record.started,
    finished: (world ?? realWorld).clock.date().toISOString(),
    configDigest: record.configDigest,
    queryDigest: end.queryDigest,
    consistency: end.consistency,
    schema: { columns: columns.map(({ name, type }) => ({ name, type })) },
    layers: { extension, ...plan.layers },
    signer: key.publicText,
  };
}

async function* entries(checkpoints: AsyncIterable<Checkpoint>): AsyncGenerator<PageEntry> {
  for await (const { name, records, sealedBytes, sealedDigest, span } of checkpoints) {
    yield {
      name,
      records,
      bytes: sealedBytes,
      sha256: sealedDigest,
      ...(span !== "whole" && { span }),
    };
  }
}
