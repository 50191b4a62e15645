/** Reads objects into memory, never more than was agreed on. */
import { PipelineError } from "../errors.ts";
import { readSignedManifest, type SignedManifest } from "../pipeline/manifest-signature.ts";
import { manifestName, maxPages, signatureName } from "../pipeline/manifest.ts";
import { whilePlausible } from "../pipeline/manifest-text.ts";
import { readManifest, type Manifest } from "../pipeline/read-manifest.ts";
import { gather } from "../stages/durable-file.ts";
import { maxPageBytes } from "../workers/frame.ts";
import { isRunId, type Run } from "./find-run.ts";
import { keepObject } from "./kept-object.ts";

/** What names most pages with the longest names and largest counts. Beyond this it is refused. */
const maxManifestBytes = maxPages * 256;
const maxSignatureBytes = 64;
// A page that does not compress grows by its frame, its age header and a tag for each 64 KiB.
const maxSealedBytes = maxPageBytes + maxPageBytes / 256 + 2 ** 20;

/**
 * Reads an object of exactly `bytes` bytes.
 * @throws PipelineError `integrity-failed` when it is shorter or longer; `not-found`; what the destination throws.
 */
export async function fetchExactly(
  run: Run,
  name: string,
  bytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (bytes > maxSealedBytes) {
    throw new PipelineError("integrity-failed", `${name} is larger than any page may be`);
  }
  const object = new Uint8Array(bytes);
  let length = 0;
  for await (const piece of run.destination.get(run.path(name), signal)) {
    if (length + piece.length > bytes) {
      throw new PipelineError(
        "integrity-failed",
        `${name} is longer than the ${bytes} bytes expected`,
      );
    }
    object.set(piece, length);
    length += piece.length;
  }
  if (length === bytes) return object;
  throw new PipelineError("integrity-failed", `${name} ends after ${length} of ${bytes} bytes`);
}

/** An object of at most `maxBytes` bytes, in pieces. */
async function* fetchUpTo(
  run: Run,
  name: string,
  maxBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const piece of run.destination.get(run.path(name), signal)) {
    length += piece.length;
    if (length > maxBytes) {
      throw new PipelineError("integrity-failed", `${name} is longer than ${maxBytes} bytes`);
    }
    yield piece;
  }
}

/** What a manifest says of the whole, without its pages and without checking its signature: for listings, never for trust. */
export const fetchManifestUnverified = (
  run: Run,
  signal: AbortSignal,
): Promise<Pick<Manifest, "head" | "tail">> =>
  readManifest(() => fetchUpTo(run, manifestName, maxManifestBytes, signal));

/** A manifest that is kept while it is used. */
export interface TrustedManifest extends SignedManifest {
  /** Lets go of it; its pages cannot be walked afterwards. */
  readonly close: () => Promise<void>;
}

/**
 * Reads a manifest and checks its signature, by `pinned` when given; the caller closes it.
 * @throws PipelineError `integrity-failed` when the run is incomplete or the signature wrong, `config-invalid` when
 * the format or the pin is unknown.
 */
export async function fetchManifest(
  run: Run,
  pinned: string | undefined,
  signal: AbortSignal,
): Promise<TrustedManifest> {
  if (!run.complete) {
    throw new PipelineError(
      "integrity-failed",
      "the export is incomplete: it has no signed manifest yet; expected the run to be finished or resumed first",
    );
  }
  const text = fetchUpTo(run, manifestName, maxManifestBytes, signal);
  const kept = await keepObject(whilePlausible(text), signal);
  try {
    const signature = await gather(fetchUpTo(run, signatureName, maxSignatureBytes, signal));
    const manifest = await readSignedManifest(kept.read, signature, pinned);
    refuseMoved(run, manifest.head);
    return { ...manifest, close: kept.close };
  } catch (error) {
    await kept.close();
    throw error;
  }
}

/**
 * An export under another run's or pipeline's name is a replay or a mix-up, however whole it is: the folders it is found
 * by must be those it was signed for.
 */
function refuseMoved({ destination, folder }: Run, head: { run: string; pipeline: string }): void {
  const [name = "", pipeline = head.pipeline] = folder.split("/").toReversed();
  // Of a URL the parts are escaped, of a listing they are not.
  const [own = ""] = new URL(destination.url).pathname.split("/").filter(Boolean).slice(-1);
  const run = name || decodeURIComponent(own);
  if ((isRunId(run) && run !== head.run) || pipeline !== head.pipeline) {
    throw new PipelineError(
      "integrity-failed",
      `the manifest is signed for run ${head.run} of ${head.pipeline}, but lies under another name; it was moved, or put in another export's place`,
    );
  }
}

/**
 * Works one item ahead of its consumer, so that the next page travels while this one is used. A consumer that leaves
 * early calls `stop`, so that nobody waits for what is still on its way.
 */
export async function* oneAhead<Item>(
  source: AsyncGenerator<Item>,
  stop?: () => Promise<void>,
): AsyncGenerator<Item> {
  let next = source.next();
  try {
    for (;;) {
      const { done, value } = await next;
      if (done) return;
      next = source.next();
      // Whoever takes the next item sees its error; until then it is nobody's.
      next.catch(() => {});
      yield value;
    }
  } finally {
    await stop?.();
    await next.catch(() => {});
    await source.return(undefined);
  }
}
