/**
 * An export's pages in order, each given out only after it is authenticated: signature, digest, age, frame, identity.
 * Holds one page and the sealed bytes of the next.
 */
import { hash } from "node:crypto";
import { PipelineError } from "../errors.ts";
import type { ManifestHead, PageEntry } from "../pipeline/manifest.ts";
import { maxPageBytes } from "../workers/frame.ts";
import { openPage, type OpenedPage } from "../workers/open.ts";
import type { FrameIdentity } from "../workers/identity.ts";
import { fetchExactly, fetchManifest, oneAhead, type TrustedManifest } from "./fetch.ts";
import { openRun, readIdentities, type ReadOptions, type Run } from "./find-run.ts";
import { createPageCheck } from "./page-check.ts";

/** One authenticated page. */
export interface ReadPage {
  readonly entry: PageEntry;
  /** Absent with `compress: none`. */
  readonly identity?: FrameIdentity;
  /** The page's records; the consumer's own. */
  readonly content: Uint8Array;
}

/** An opened export: what it is, and its pages, once. */
export interface OpenExport {
  readonly manifest: TrustedManifest;
  readonly head: ManifestHead;
  readonly pages: AsyncGenerator<ReadPage>;
  /** Closes the destination; needed only when `pages` is not walked. */
  readonly close: () => Promise<void>;
}

/**
 * Gives the pages of the export at `url` (a run's folder; a pipeline's or a destination's gives the newest complete
 * run), in order. The walk ends without an error only when the export is whole.
 * @throws PipelineError `integrity-failed`, `key-wrong`, `not-found`, `config-invalid`, or of the destination.
 */
export async function* readPages(url: string, options: ReadOptions = {}): AsyncGenerator<ReadPage> {
  const opened = await openExport(url, options);
  yield* opened.pages;
}

/** Opens an export: finds the run and trusts its manifest before a page is read. */
export async function openExport(url: string, options: ReadOptions): Promise<OpenExport> {
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const identities = await readIdentities(options);
  const run = await openRun(url, options, signal);
  let manifest: TrustedManifest | undefined;
  const close = async () => {
    stop.abort();
    await manifest?.close();
    await run.destination.close();
  };
  try {
    manifest = await fetchManifest(run, options.signer, signal);
    const { compress, encrypt } = manifest.head.layers;
    const open = (sealed: Uint8Array) =>
      openPage(sealed, { compress, encrypt, identities, maxBytes: maxPageBytes });
    return {
      manifest,
      head: manifest.head,
      pages: walk(run, manifest, open, { signal, close }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function* walk(
  run: Run,
  manifest: TrustedManifest,
  open: (sealed: Uint8Array) => Promise<OpenedPage>,
  { signal, close }: { readonly signal: AbortSignal; readonly close: () => Promise<void> },
): AsyncGenerator<ReadPage> {
  try {
    const check = createPageCheck(manifest.head, manifest.tail);
    for await (const { entry, sealed } of oneAhead(fetchPages(run, manifest, signal), close)) {
      const opened = await open(sealed);
      refuse(check.next(entry, opened), entry.name);
      yield { entry, ...opened };
    }
    refuse(check.end(), "the manifest");
  } finally {
    await close();
  }
}

async function* fetchPages(run: Run, manifest: TrustedManifest, signal: AbortSignal) {
  for await (const entry of manifest.pages()) {
    const sealed = await fetchPage(run, entry, signal);
    if (hash("sha256", sealed, "hex") !== entry.sha256) refuse(["was changed"], entry.name);
    yield { entry, sealed };
  }
}

/** A page the manifest names must be there: its absence is damage, not a wrong URL. */
async function fetchPage(run: Run, entry: PageEntry, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return await fetchExactly(run, entry.name, entry.bytes, signal);
  } catch (error) {
    if (error instanceof PipelineError && error.code === "not-found")
      refuse(["is missing"], entry.name);
    throw error;
  }
}

function refuse([problem]: readonly string[], name: string): void {
  if (problem === undefined) return;
  throw new PipelineError(
    "integrity-failed",
    `${name} ${problem}; run \`spillway verify\` to see all that is wrong`,
    { details: { name } },
  );
}
