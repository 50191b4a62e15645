/**
 * Destination `tar:` · one tar file that grows entry by entry and gets its name when it is complete.
 *
 * takes / gives  whole objects by name; pieces of at most 1 MiB back
 * holds          the name and place of every entry (about 150 bytes each), and one piece while reading
 * order          puts are written one after another; `list` is in name order
 * ends           a put returns when its entry would survive a power cut; `finish` closes the archive and names it
 * fails          `foreign-object`, `destination-refused`, `destination-failed` (no space: try again), `not-found`
 *
 * Entries go to `<file>.partial`. After a crash whole entries are kept and the torn end is cut off by the next put;
 * reading never changes the file. `finish` gives the name by a hard link, which cannot overwrite.
 */
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { PipelineError } from "../../errors.ts";
import type { ListedObject, OpenDestination, StoredObject } from "./destination.ts";
import { syncFolder } from "../durable-file.ts";
import { digestOf, failureOf, guard, linkOnce, readPieces, statOf } from "./file-work.ts";
import { compareNames, folderSegmentsOf, segmentsOf } from "./object-names.ts";
import { pathIdentity } from "./path-identity.ts";
import {
  type Bundle,
  type Place,
  append,
  expectSoleWriter,
  load,
  openReader,
  openWriter,
} from "./tar-bundle.ts";
import { endOfArchive, entryPieces } from "./tar-entry.ts";

/** Opens a bundle; the file is made by the first `put`. */
export const openTar: OpenDestination = async (url) => {
  const path = fileURLToPath(`file://${url.pathname}`);
  const bundle: Bundle = {
    path,
    partial: `${path}.partial`,
    entries: undefined,
    end: 0,
    finished: false,
    writer: undefined,
    poisoned: undefined,
    last: Promise.resolve(),
  };
  return {
    url: url.href,
    identity: pathIdentity(url),
    put: (object, signal) => inTurn(bundle, "storing an entry", signal, put, object),
    get: (name, signal) => get(bundle, name, signal),
    list: (folder, signal) => list(bundle, folder, signal),
    finish: (signal) => inTurn(bundle, "finishing the bundle", signal, finish, undefined),
    close: async () => {
      await bundle.last;
      await bundle.writer?.close();
      bundle.writer = undefined;
    },
  };
};

/** Queues work on the bundle behind all that was queued before. */
function inTurn<Input>(
  bundle: Bundle,
  doing: string,
  signal: AbortSignal,
  work: (bundle: Bundle, input: Input, signal: AbortSignal) => Promise<void>,
  input: Input,
): Promise<void> {
  const turn = bundle.last.then(() => guard(doing, signal, () => work(bundle, input, signal)));
  bundle.last = turn.catch(() => {});
  return turn;
}

async function put(bundle: Bundle, object: StoredObject, signal: AbortSignal): Promise<void> {
  segmentsOf(object.name);
  const entries = await load(bundle, signal);
  const place = entries.get(object.name);
  if (place) return expectEqual(bundle, place, object, signal);
  if (bundle.finished) {
    throw new PipelineError(
      "foreign-object",
      `the bundle is finished and lacks ${object.name}; expected a name that is free`,
      { details: { name: object.name } },
    );
  }
  if (bundle.poisoned) throw bundle.poisoned;
  const writer = (bundle.writer ??= await openWriter(bundle));
  await expectSoleWriter(bundle, writer);
  bundle.end = await append(bundle, writer, entryPieces(object));
  entries.set(object.name, { start: bundle.end - padded(object), bytes: object.bytes.length });
}

function padded(object: StoredObject): number {
  return Math.ceil(object.bytes.length / 512) * 512;
}

async function expectEqual(
  bundle: Bundle,
  place: Place,
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  if (place.bytes === object.bytes.length) {
    const file = await openReader(bundle);
    try {
      const digest = await digestOf(file, place.start, place.bytes, signal);
      // It may stem from a process that died before it could sync.
      await file.sync();
      if (digest.equals(object.sha256)) return;
    } finally {
      await file.close();
    }
  }
  throw new PipelineError(
    "foreign-object",
    `${object.name} is taken by other bytes in the bundle; nothing was overwritten`,
    { details: { name: object.name } },
  );
}

async function finish(bundle: Bundle, _: undefined, signal: AbortSignal): Promise<void> {
  const entries = await load(bundle, signal);
  if (bundle.finished) return removeTwin(bundle);
  if (bundle.poisoned) throw bundle.poisoned;
  if (entries.size === 0) return;
  const writer = (bundle.writer ??= await openWriter(bundle));
  await append(bundle, writer, [endOfArchive]);
  if (!(await linkOnce(bundle.partial, bundle.path))) {
    throw new PipelineError(
      "foreign-object",
      `${JSON.stringify(bundle.path)} exists already; the finished bundle stays in its .partial file`,
    );
  }
  bundle.finished = true;
  bundle.writer = undefined;
  await writer.close();
  await removeTwin(bundle);
}

/** A crash may leave the partial name beside the final one, both for the same file. */
async function removeTwin(bundle: Bundle): Promise<void> {
  const [final, partial] = [await statOf(bundle.path), await statOf(bundle.partial)];
  if (partial && partial.ino === final?.ino && partial.dev === final.dev) await rm(bundle.partial);
  await syncFolder(dirname(bundle.path));
}

async function* get(bundle: Bundle, name: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  segmentsOf(name);
  try {
    const place = (await loadInTurn(bundle, signal)).get(name);
    if (!place) {
      throw new PipelineError("not-found", `${name} does not exist in the bundle`, {
        details: { name },
      });
    }
    const file = await openReader(bundle);
    try {
      yield* readPieces(file, place.start, place.bytes, signal);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw failureOf(`reading ${name}`, signal, error);
  }
}

async function loadInTurn(bundle: Bundle, signal: AbortSignal): Promise<Map<string, Place>> {
  await inTurn(
    bundle,
    "reading the bundle",
    signal,
    async () => void (await load(bundle, signal)),
    0,
  );
  return load(bundle, signal);
}

async function* list(
  bundle: Bundle,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  const prefix = folderSegmentsOf(folder)
    .map((segment) => `${segment}/`)
    .join("");
  const entries = await loadInTurn(bundle, signal);
  const names = [...entries.keys()].filter((name) => name.startsWith(prefix));
  for (const name of names.sort(compareNames)) {
    signal.throwIfAborted();
    yield { name, bytes: entries.get(name)?.bytes ?? 0 };
  }
}
