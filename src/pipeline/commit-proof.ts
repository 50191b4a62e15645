/** What a commit asks of the destination: does it still have what it acknowledged, and the very manifest that was stored. */
import { join } from "node:path";
import { PipelineError } from "../errors.ts";
import type { Destination, ListedObject } from "../stages/destinations/destination.ts";
import { digestOfParts, syncFolder } from "../stages/durable-file.ts";
import { onDisk } from "../stages/pages/spool-room.ts";
import type { Checkpoint } from "../stages/pages/checkpoint.ts";
import { draftName, manifestName } from "./manifest.ts";
import type { Place } from "./run-files.ts";

interface Asked {
  readonly pages: AsyncIterable<Checkpoint>;
  readonly destination: Destination;
  readonly signal: AbortSignal;
}

/**
 * The destination still has every page under its name and size: a store may lose objects, or be another than the one
 * that acknowledged them. Both lists are in name order and neither is held. Credentials need not be allowed to list.
 */
export async function provePagesStored(init: Asked, place: Place, prefix: string): Promise<void> {
  const { pages, destination, signal } = init;
  const listed = listAllowed(destination, prefix.slice(0, -1), signal);
  try {
    let next = await listed.next();
    for await (const { name, sealedBytes, sealedDigest } of pages) {
      while (!next.done && next.value.name < prefix + name) next = await listed.next();
      if (!next.done && next.value.name === prefix + name && next.value.bytes === sealedBytes)
        continue;
      // A listing may lag behind, or lack what is there: then the object itself is read.
      const found = await digestStored(destination, prefix + name, signal);
      if (found === sealedDigest) continue;
      throw await refuseLost(init, place, prefix, name);
    }
  } finally {
    await listed.return(undefined);
  }
}

/** What is listed; nothing, from where on that is refused. */
async function* listAllowed(
  destination: Destination,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  try {
    yield* destination.list(folder, signal);
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== "destination-refused") throw error;
  }
}

/**
 * A page that was acknowledged and is gone lies nowhere else. A manifest that nobody has seen is a draft again, so that the
 * run may be discarded; where the page comes back, as on a disk that was not mounted, the same one is stored. Where the
 * destination has it, the export is a damaged one, and not ours to hide.
 */
async function refuseLost(
  { destination, signal }: Asked,
  place: Place,
  prefix: string,
  name: string,
): Promise<PipelineError> {
  const isSeen = await digestStored(destination, prefix + manifestName, signal);
  if (!isSeen) await takeBack(place);
  const next = isSeen
    ? `but it has the manifest: the export there is damaged; remove ${prefix} from it, then run again to be told to begin anew`
    : "nor has it a manifest. Is it the right one, and mounted? Then begin again with --restart";
  return new PipelineError(
    "integrity-failed",
    `commit: the destination no longer has ${name} as it acknowledged it; ${next}`,
  );
}

const takeBack = ({ disk, path }: Place): Promise<void> =>
  onDisk(async () => {
    await disk.rename(join(path, manifestName), join(path, draftName));
    await syncFolder(path, disk);
  });

/** The manifest there is the one that was stored. */
export async function proveStored(
  destination: Destination,
  name: string,
  sha256: string,
  signal: AbortSignal,
): Promise<void> {
  if ((await digestStored(destination, name, signal)) === sha256) return;
  throw new PipelineError(
    "integrity-failed",
    "commit: the destination gives back another manifest than was stored; do not trust it",
  );
}

/** SHA-256 (hex) of what is really there; undefined when nothing is. */
async function digestStored(
  destination: Destination,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return (await digestOfParts(destination.get(name, signal))).toString("hex");
  } catch (error) {
    if (error instanceof PipelineError && error.code === "not-found") return undefined;
    throw error;
  }
}
