/** The exports below a URL, finished or not: what `spillway ls` prints. */
import { PipelineError } from "../errors.ts";
import type { Manifest } from "../pipeline/read-manifest.ts";
import { fetchManifestUnverified } from "./fetch.ts";
import {
  findRuns,
  isComplete,
  openForReading,
  type FoundRun,
  type ReadOptions,
} from "./find-run.ts";

export interface ListedExport {
  /** The run's folder below the URL; `""` when the URL is that folder. */
  readonly folder: string;
  readonly run: string | null;
  readonly pipeline: string | null;
  /** `damaged`: a manifest that cannot be read. Signatures are checked by `verify`, not here. */
  readonly state: "complete" | "incomplete" | "damaged";
  readonly pages: number;
  /** Null while only pages are there. */
  readonly records: number | null;
  /** Stored bytes of the pages. */
  readonly bytes: number;
  /** UTC; null while incomplete. */
  readonly finished: string | null;
}

/**
 * Lists the exports at `url`: a destination, a pipeline's folder or a run's folder. In name order, so runs of a
 * pipeline come oldest first. Manifests are read one at a time.
 * @throws PipelineError of the destination.
 */
export async function* listExports(
  url: string,
  options: ReadOptions = {},
): AsyncGenerator<ListedExport> {
  const signal = options.signal ?? new AbortController().signal;
  const destination = await openForReading(url, options);
  try {
    for (const found of await findRuns(destination, signal)) {
      const path = (name: string) => (found.folder === "" ? name : `${found.folder}/${name}`);
      const complete = isComplete(found);
      const { folder } = found;
      yield complete
        ? await describe(found, () =>
            fetchManifestUnverified({ destination, folder, complete, path }, signal),
          )
        : withoutManifest(found, "incomplete");
    }
  } finally {
    await destination.close();
  }
}

async function describe(
  found: FoundRun,
  read: () => Promise<Pick<Manifest, "head" | "tail">>,
): Promise<ListedExport> {
  try {
    const { head, tail } = await read();
    const { pages, records, bytes } = tail.totals;
    const { run, pipeline, finished } = head;
    return {
      folder: found.folder,
      run,
      pipeline,
      state: "complete",
      pages,
      records,
      bytes,
      finished,
    };
  } catch (error) {
    const unreadable =
      error instanceof PipelineError &&
      (error.code === "integrity-failed" || error.code === "config-invalid");
    if (unreadable) return withoutManifest(found, "damaged");
    throw error;
  }
}

/** What can be told from names and sizes alone: the folder is `<pipeline>/<run>`. */
function withoutManifest(found: FoundRun, state: "incomplete" | "damaged"): ListedExport {
  const [run = null, pipeline = null] = found.folder.split("/").filter(Boolean).toReversed();
  const { folder, pages, bytes } = found;
  return { folder, run, pipeline, state, pages, records: null, bytes, finished: null };
}
