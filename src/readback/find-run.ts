/** Finds the run a URL means: the run's own folder, or the newest complete run below a pipeline or a root. */
import { parseIdentityFile, type Identities } from "../workers/age.ts";
import { PipelineError } from "../errors.ts";
import type { Destination, S3Options } from "../stages/destinations/destination.ts";
import { checkDestinationUrl, openDestination, takesRows } from "../stages/destinations/schemes.ts";
import { manifestName, signatureName } from "../pipeline/manifest.ts";

/** What every way of reading back takes. */
export interface ReadOptions {
  /** Who reads: age identities (`AGE-SECRET-KEY-1…`) or texts of identity files. */
  readonly identity?: string | readonly string[];
  /** Of the pages, or of an identity file that is locked itself. */
  readonly passphrase?: string;
  /** The key the manifest must be signed with: `ed25519:…` or a PEM public key. */
  readonly signer?: string;
  readonly signal?: AbortSignal;
  readonly s3?: S3Options;
  /** How long one request may take, in milliseconds; 60,000 when absent. */
  readonly timeoutMillis?: number;
}

/** A run's folder at a destination. */
export interface Run {
  readonly destination: Destination;
  /** Name of an object of the run at the destination. */
  path(name: string): string;
  /** The run's folder, `""` when the URL is that folder. */
  readonly folder: string;
  /** Manifest and signature are there. */
  readonly complete: boolean;
}

/** What lies in one folder that looks like a run's. */
export interface FoundRun {
  readonly folder: string;
  pages: number;
  /** Bytes of the pages as stored. */
  bytes: number;
  manifest: boolean;
  signature: boolean;
}

const defaultTimeoutMillis = 60_000;

/** Whether a folder is called as the runs that spillway makes. */
export const isRunId = (name: string): boolean => /^\d{8}T\d{9}Z-[0-9a-f]{8}$/.test(name);

const pageLike = /^\d{8,}(\.[a-z0-9]+)+$/;

/**
 * Opens the destination of an export for reading; the caller closes it.
 * @throws PipelineError `config-invalid` for a database, where pages became rows; as `openDestination`
 */
export async function openForReading(url: string, options: ReadOptions): Promise<Destination> {
  if (takesRows(checkDestinationUrl(url).protocol)) throw readByItsDatabase();
  return openDestination(url, {
    timeoutMillis: options.timeoutMillis ?? defaultTimeoutMillis,
    ...(options.s3 && { s3: options.s3 }),
    ...(options.s3?.endpoint !== undefined && { azblob: { endpoint: options.s3.endpoint } }),
  });
}

const readByItsDatabase = (): PipelineError =>
  new PipelineError(
    "config-invalid",
    "an export to a database became rows of a table there, and its pages are no more; ask the database for them",
  );

/**
 * Opens the run that `url` means; the caller closes its destination.
 * @throws PipelineError `not-found` when nothing there looks like an export, `config-invalid` when several pipelines do.
 */
export async function openRun(
  url: string,
  options: ReadOptions,
  signal: AbortSignal,
): Promise<Run> {
  const destination = await openForReading(url, options);
  try {
    const { folder, complete } = await locate(destination, signal);
    const path = (name: string) => (folder === "" ? name : `${folder}/${name}`);
    return { destination, folder, complete, path };
  } catch (error) {
    await destination.close();
    throw error;
  }
}

/** Runs without both are unfinished: the manifest goes last. */
export const isComplete = (run: FoundRun): boolean => run.manifest && run.signature;

async function locate(destination: Destination, signal: AbortSignal) {
  // The usual case, without listing a folder that may hold a million pages.
  if (await exists(destination, manifestName, signal)) {
    return { folder: "", complete: await exists(destination, signatureName, signal) };
  }
  const runs = await findRuns(destination, signal);
  const pipelines = [...new Set(runs.map((run) => run.folder.split("/").slice(0, -1).join("/")))];
  if (pipelines.length > 1) {
    const names = pipelines.slice(0, 10).join(", ");
    throw new PipelineError(
      "config-invalid",
      `the destination holds ${pipelines.length} pipelines (${names}); expected the URL of one of them`,
    );
  }
  // Run ids sort by time; any other name is the recipient's own, of a copy perhaps.
  const newest =
    runs.findLast((run) => isComplete(run) && isRunId(run.folder.split("/").at(-1)!)) ??
    runs.findLast(isComplete) ??
    runs.at(-1);
  if (newest) return { folder: newest.folder, complete: isComplete(newest) };
  throw new PipelineError(
    "not-found",
    "no export lies there; expected the URL of a run's folder, of a pipeline's folder or of a destination",
  );
}

/** Folders that hold pages or a manifest, at most two levels down, in name order. */
export async function findRuns(destination: Destination, signal: AbortSignal): Promise<FoundRun[]> {
  const found = new Map<string, FoundRun>();
  for await (const { name, bytes } of destination.list("", signal)) {
    const segments = name.split("/");
    const object = segments.pop() ?? "";
    const isPage = pageLike.test(object);
    if (segments.length > 2 || (!isPage && !object.startsWith(manifestName))) continue;
    const folder = segments.join("/");
    const run = found.get(folder) ?? {
      folder,
      pages: 0,
      bytes: 0,
      manifest: false,
      signature: false,
    };
    found.set(folder, run);
    if (isPage) {
      run.pages += 1;
      run.bytes += bytes;
    }
    run.manifest ||= object === manifestName;
    run.signature ||= object === signatureName;
  }
  return [...found.values()].sort((a, b) => (a.folder < b.folder ? -1 : 1));
}

async function exists(destination: Destination, name: string, signal: AbortSignal) {
  try {
    for await (const _ of destination.get(name, signal)) return true;
    return true;
  } catch (error) {
    if (error instanceof PipelineError && error.code === "not-found") return false;
    throw error;
  }
}

/** The identities and passphrase to try on every page. */
export async function readIdentities(options: ReadOptions): Promise<Identities> {
  const { identity, passphrase } = options;
  const files = identity === undefined ? [] : typeof identity === "string" ? [identity] : identity;
  const identities: string[] = [];
  for (const file of files) identities.push(...(await parseIdentityFile(file, passphrase)));
  return { identities, ...(passphrase !== undefined && { passphrase }) };
}
