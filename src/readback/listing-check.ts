/** What lies at the destination against what the manifest names: missing, extra, of other size; and SHA256SUMS. */
import {
  manifestName,
  signatureName,
  sumsName,
  writeSums,
  type PageEntry,
} from "../pipeline/manifest.ts";
import type { Manifest } from "../pipeline/read-manifest.ts";
import type { ListedObject } from "../stages/destinations/destination.ts";
import type { Run } from "./find-run.ts";
import type { Problems } from "./problems.ts";

interface Expected {
  readonly name: string;
  readonly bytes?: number;
}

/** Walks both lists at once: the destination lists in name order, and page names sort in page order. */
export async function checkListing(
  run: Run,
  manifest: Manifest,
  problems: Problems,
  signal: AbortSignal,
): Promise<void> {
  const expected = expectedObjects(manifest.pages());
  const following = async () => (await expected.next()).value;
  let next = await following();
  for await (const listed of listRun(run, signal)) {
    while (next && next.name < listed.name) {
      problems.add(next.name, "is missing");
      next = await following();
    }
    if (next?.name !== listed.name) {
      problems.add(listed.name, "is not part of the export");
      continue;
    }
    if (next.bytes !== undefined && next.bytes !== listed.bytes) {
      problems.add(next.name, `has ${listed.bytes} bytes where the manifest says ${next.bytes}`);
    }
    next = await following();
  }
  for (; next; next = await following()) problems.add(next.name, "is missing");
}

/** Digits sort before capital letters, these before small ones. */
async function* expectedObjects(
  pages: AsyncGenerator<PageEntry>,
): AsyncGenerator<Expected, undefined> {
  yield* pages;
  yield { name: sumsName };
  yield { name: manifestName };
  yield { name: signatureName };
}

async function* listRun(run: Run, signal: AbortSignal): AsyncGenerator<ListedObject> {
  const prefix = run.path("");
  for await (const { name, bytes } of run.destination.list(run.folder, signal)) {
    yield { name: name.slice(prefix.length), bytes };
  }
}

const nothing: Uint8Array = new Uint8Array();

/** `SHA256SUMS` is not signed, so it must say exactly what the signed manifest says. */
export async function checkSums(
  run: Run,
  manifest: Manifest,
  problems: Problems,
  signal: AbortSignal,
): Promise<void> {
  if (problems.has(sumsName)) return;
  const differs = await problems.catching(sumsName, async () => {
    const sums = writeSums(manifest.pages());
    const following = async (): Promise<Uint8Array> => (await sums.next()).value ?? nothing;
    let expected = nothing;
    for await (const piece of run.destination.get(run.path(sumsName), signal)) {
      for (let at = 0; at < piece.length;) {
        if (expected.length === 0) expected = await following();
        const length = Math.min(expected.length, piece.length - at);
        const [wanted, found] = [expected.subarray(0, length), piece.subarray(at, at + length)];
        if (length === 0 || Buffer.compare(wanted, found) !== 0) return true;
        expected = expected.subarray(length);
        at += length;
      }
    }
    return expected.length > 0 || (await following()).length > 0;
  });
  if (differs) problems.add(sumsName, "says otherwise than the manifest");
}
