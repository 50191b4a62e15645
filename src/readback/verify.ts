/**
 * Verifies an export at three depths and lists all that is wrong, by object.
 *
 * `quick` trusts the destination's listing · `bytes` hashes every page · `full` opens every page and checks what
 * it says of itself. Holds one page and the sealed bytes of the next; of a large manifest, and of objects, no list.
 */
import { hash } from "node:crypto";
import { maxPageBytes } from "../workers/frame.ts";
import { freeBuffer } from "../workers/free.ts";
import { openPage } from "../workers/open.ts";
import { manifestName, type PageEntry } from "../pipeline/manifest.ts";
import { fetchExactly, fetchManifest, oneAhead, type TrustedManifest } from "./fetch.ts";
import { openRun, readIdentities, type ReadOptions, type Run } from "./find-run.ts";
import { checkListing, checkSums } from "./listing-check.ts";
import { createPageCheck } from "./page-check.ts";
import { createProblems, type Problem, type Problems } from "./problems.ts";

export type { Problem } from "./problems.ts";

export type VerifyLevel = "quick" | "bytes" | "full";

export interface VerifyOptions extends ReadOptions {
  readonly level: VerifyLevel;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  readonly pages: number;
  readonly totalPages: number;
  /** Stored bytes read so far. */
  readonly bytes: number;
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly level: VerifyLevel;
  /** False: no signed manifest; the export is unfinished. */
  readonly complete: boolean;
  readonly run: string | null;
  readonly pipeline: string | null;
  readonly pages: number;
  readonly records: number;
  /** Stored bytes of all pages. */
  readonly bytes: number;
  readonly problems: readonly Problem[];
  /** Problems beyond those listed. */
  readonly moreProblems: number;
  /** `ed25519:<base64>`; null when the signature is wrong. */
  readonly signer: string | null;
  /** True when the signer was demanded, not only claimed. */
  readonly pinned: boolean;
}

/**
 * Verifies the export at `url` (a run's folder; a pipeline's or a destination's gives the newest complete run).
 * Damage is reported, not thrown.
 * @throws PipelineError `not-found` when no export lies there, `key-wrong` when undamaged pages do not open,
 * `config-invalid`, or of the destination.
 */
export async function verifyExport(url: string, options: VerifyOptions): Promise<VerifyReport> {
  const signal = options.signal ?? new AbortController().signal;
  const problems = createProblems();
  const run = await openRun(url, options, signal);
  let manifest: TrustedManifest | undefined;
  try {
    manifest = await trust(run, options, problems, signal);
    if (manifest) await examine(run, manifest, options, problems, signal);
    return report(run, manifest, options.level, problems);
  } finally {
    await manifest?.close();
    await run.destination.close();
  }
}

/** Undefined when the manifest cannot be trusted: then it says nothing about the pages either. */
async function trust(
  run: Run,
  options: VerifyOptions,
  problems: Problems,
  signal: AbortSignal,
): Promise<TrustedManifest | undefined> {
  return problems.catching(manifestName, async () => {
    const manifest = await fetchManifest(run, options.signer, signal);
    try {
      for await (const _ of manifest.pages());
      return manifest;
    } catch (error) {
      await manifest.close();
      throw error;
    }
  });
}

async function examine(
  run: Run,
  manifest: TrustedManifest,
  options: VerifyOptions,
  problems: Problems,
  signal: AbortSignal,
): Promise<void> {
  await checkListing(run, manifest, problems, signal);
  await checkSums(run, manifest, problems, signal);
  if (options.level === "quick") return;
  const open =
    options.level === "full" ? await createOpener(manifest, options, problems) : undefined;
  const strays = new Map<string, string>();
  let pages = 0;
  let bytes = 0;
  for await (const { entry, sealed } of oneAhead(
    fetchAll(run, manifest, problems, strays, signal),
  )) {
    await open?.(entry, sealed);
    if (sealed) freeBuffer(sealed);
    pages += 1;
    bytes += entry.bytes;
    options.onProgress?.({ pages, totalPages: manifest.tail.totals.pages, bytes });
  }
  await nameStrays(manifest, strays, problems);
}

interface Fetched {
  readonly entry: PageEntry;
  /** Absent when the page is not what the manifest says. */
  readonly sealed: Uint8Array | undefined;
}

async function* fetchAll(
  run: Run,
  manifest: TrustedManifest,
  problems: Problems,
  strays: Map<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Fetched> {
  for await (const entry of manifest.pages()) {
    // The listing has told already what is wrong with it.
    let sealed = problems.has(entry.name)
      ? undefined
      : await problems.catching(entry.name, () =>
          fetchExactly(run, entry.name, entry.bytes, signal),
        );
    const digest = sealed && hash("sha256", sealed, "hex");
    if (digest !== undefined && digest !== entry.sha256) {
      if (strays.size < 1000) strays.set(entry.name, digest);
      else problems.add(entry.name, "was changed: its SHA-256 is not that of the manifest");
      sealed = undefined;
    }
    yield { entry, sealed };
  }
}

/** Opens pages and checks what they say of themselves. */
async function createOpener(
  manifest: TrustedManifest,
  options: VerifyOptions,
  problems: Problems,
): Promise<(entry: PageEntry, sealed: Uint8Array | undefined) => Promise<void>> {
  const identities = await readIdentities(options);
  const { compress, encrypt } = manifest.head.layers;
  const how = { compress, encrypt, identities, maxBytes: maxPageBytes };
  const check = createPageCheck(manifest.head, manifest.tail);
  let left = manifest.tail.totals.pages;
  return async (entry, sealed) => {
    const opened = sealed && (await problems.catching(entry.name, () => openPage(sealed, how)));
    if (opened) {
      for (const problem of check.next(entry, opened)) problems.add(entry.name, problem);
      freeBuffer(opened.content);
    } else check.skip();
    left -= 1;
    if (left === 0) for (const problem of check.end()) problems.add(manifestName, problem);
  };
}

/** A page with the bytes of another page was swapped or doubled, which is worth saying. */
async function nameStrays(
  manifest: TrustedManifest,
  strays: ReadonlyMap<string, string>,
  problems: Problems,
): Promise<void> {
  if (strays.size === 0) return;
  const wanted = new Set(strays.values());
  const owners = new Map<string, string>();
  for await (const { name, sha256 } of manifest.pages())
    if (wanted.has(sha256)) owners.set(sha256, name);
  for (const [name, digest] of strays) {
    const owner = owners.get(digest);
    problems.add(
      name,
      owner
        ? `holds the bytes of ${owner}: swapped or doubled`
        : "was changed: its SHA-256 is not that of the manifest",
    );
  }
}

function report(
  run: Run,
  manifest: TrustedManifest | undefined,
  level: VerifyLevel,
  problems: Problems,
): VerifyReport {
  const { list, more } = problems;
  const { pages = 0, records = 0, bytes = 0 } = manifest?.tail.totals ?? {};
  return {
    ok: list.length === 0,
    level,
    complete: run.complete,
    run: manifest?.head.run ?? null,
    pipeline: manifest?.head.pipeline ?? null,
    pages,
    records,
    bytes,
    problems: list,
    moreProblems: more,
    signer: manifest?.signer ?? null,
    pinned: manifest?.pinned ?? false,
  };
}
