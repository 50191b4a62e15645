/**
 * What the simulated runs export. Sealing is real and done once: for every run id that can occur, each page lies ready in
 * several sealed forms, since a page that is made again is sealed with another key and has other bytes.
 */
import { hash } from "node:crypto";
import { createLease } from "../../src/stages/lease.ts";
import type { RecordBatch } from "../../src/stages/nouns.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { sealPages } from "../../src/stages/pages/seal-pages.ts";
import type { StageContext } from "../../src/stages/stage.ts";
import { openPage } from "../../src/workers/open.ts";
import { sealPage, type SealedResult, type SealTask } from "../../src/workers/seal.ts";
import { nextRunId } from "../../src/pipeline/run-id.ts";
import { createKey } from "../../test/fixtures/keys.ts";
import { pick, type Random } from "./files.ts";

/** Most bytes of records in a page: small, so that a run has several pages and few bytes. */
export const pageBytes = 256;
const recordsAPage = 5;
const variants = 2;
const pageCounts = [1, 2, 3, 5];

/** The day all simulated runs begin: the clock of a world counts milliseconds, and its date stands still. */
export const today = new Date("2026-01-01T00:00:00.000Z");
export const chances = [Buffer.from("11111111", "hex"), Buffer.from("eeeeeeee", "hex")];
/** Runs of one state that can be committed one after another. */
export const runsMost = 4;

export interface Dataset {
  readonly rows: number;
  readonly pages: number;
  /** Record by record; the payload says which row it is. */
  readonly batches: readonly RecordBatch[];
}

export interface SealedPages {
  readonly datasets: readonly Dataset[];
  readonly identity: string;
  readonly recipient: string;
  /** One of the sealed forms of a page, in memory of its own. */
  seal(task: SealTask, random: Random): SealedResult;
  /** Which page of which run the bytes are, or undefined where nothing like them was ever sealed. */
  whose(bytes: Uint8Array): Origin | undefined;
}

export interface Origin {
  readonly run: string;
  readonly page: number;
  readonly dataset: Dataset;
}

export async function sealAll(): Promise<SealedPages> {
  const { identity, recipient } = await createKey();
  const datasets = pageCounts.map(makeDataset);
  const forms = new Map<string, SealedResult[]>();
  const origins = new Map<string, Origin>();
  for (const dataset of datasets) {
    for (const run of runIds()) {
      await sealForReal(dataset, { run, recipient, variants }, async (task, form) => {
        forms.set(keyOf(task), [...(forms.get(keyOf(task)) ?? []), form]);
        origins.set(digestOf(form.bytes), { run, page: task.identity.page, dataset });
        await expectOpens(form.bytes, task, identity);
      });
    }
  }
  return {
    datasets,
    identity,
    recipient,
    seal(task, random) {
      const form = pick(random, forms.get(keyOf(task))!);
      return { ...form, bytes: Uint8Array.from(form.bytes) };
    },
    whose: (bytes) => origins.get(digestOf(bytes)),
  };
}

const digestOf = (bytes: Uint8Array) => hash("sha256", bytes, "hex");
const keyOf = ({ identity }: SealTask) => `${identity.run} ${identity.page} ${identity.chain}`;

/** Every id that `nextRunId` can give in a simulated world. */
function runIds(): Set<string> {
  const ids = new Set<string>();
  let befores = [""];
  for (let i = 0; i < runsMost; i += 1) {
    const next = befores.flatMap((before) =>
      chances.map((bytes) => nextRunId(today.toISOString(), before, { randomBytes: () => bytes })),
    );
    for (const id of next) ids.add(id);
    befores = [...new Set(next)];
  }
  return ids;
}

function makeDataset(pages: number): Dataset {
  const rows = pages * recordsAPage;
  const records = Array.from({ length: rows }, (_, row) =>
    Buffer.from(
      `{"row":${100 + row},"of":${rows},"payload":"${digestOf(Buffer.of(row, rows)).slice(0, 16)}"}\n`,
    ),
  );
  const batches = records.map((bytes, row) => ({
    bytes,
    ends: [bytes.length],
    framing: false,
    columns: [{ name: "row", type: "int8", json: "number" as const }],
    extension: "ndjson",
    ...(row === rows - 1 && {
      end: {
        rows,
        consistency: { class: "snapshot" as const, proof: { rows } },
        queryDigest: "0".repeat(64),
      },
    }),
  }));
  return { rows, pages, batches };
}

interface Sealing {
  readonly run: string;
  readonly recipient: string;
  readonly variants: number;
}

/** The real stages and the real work, without threads. */
async function sealForReal(
  { batches }: Dataset,
  { run, recipient, variants }: Sealing,
  onForm: (task: SealTask, form: SealedResult) => Promise<void>,
): Promise<void> {
  const signal = new AbortController().signal;
  const seal = async (task: SealTask) => {
    for (let i = 0; i < variants; i += 1) await onForm(task, await sealPage(task));
    return await sealPage(task);
  };
  const ctx = { signal, lease: createLease(2 ** 20), run: { id: run }, pool: { threads: 1, seal } };
  const context = ctx as unknown as StageContext;
  const pages = chunk.open({ size: pageBytes }, context, stream(batches));
  for await (const page of sealPages(sealWork(recipient), context, pages)) page.release();
}

export async function* stream<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

export const sealWork = (recipient: string) => ({
  compress: { codec: "zstd" as const, level: 3 },
  encrypt: { to: [recipient] },
});

/** What the oracle trusts: each sealed form opens to the records it was made of. */
async function expectOpens(sealed: Uint8Array, task: SealTask, identity: string): Promise<void> {
  const opened = await openPage(Uint8Array.from(sealed), {
    compress: "zstd",
    encrypt: "age",
    identities: { identities: [identity] },
    maxBytes: pageBytes,
  });
  if (!Buffer.from(opened.content).equals(task.content)) throw new Error("a page opens to others");
}
