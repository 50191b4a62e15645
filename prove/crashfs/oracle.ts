/** What must be true of the disk when all is over: every export that was promised is there, whole, and nothing else. */
import { hash } from "node:crypto";
import { manifestName, signatureName, sumsName } from "../../src/pipeline/manifest.ts";
import { readSignedManifest } from "../../src/pipeline/manifest-signature.ts";
import { incomingPrefix } from "../../src/stages/destinations/object-names.ts";
import type { WholeManifest } from "../../test/fixtures/manifest.ts";
import { FileNode, FolderNode } from "./files.ts";
import type { Dataset, SealedPages } from "./pages.ts";
import { outDir, pipeline, spoolDir } from "./run.ts";

export interface Expected {
  readonly sealed: SealedPages;
  readonly signer: string;
  readonly dataset: Dataset;
  /** Runs that were told to be committed. */
  readonly promised: ReadonlySet<string>;
  /** The disk refused to remove files: unfinished ones, which are never listed, may have stayed. */
  readonly untidy: boolean;
}

/** @returns the first thing that is wrong */
export async function judgeExports(
  root: FolderNode,
  expected: Expected,
): Promise<string | undefined> {
  const runs = filesBelow(root, `${outDir}/${pipeline}`);
  for (const run of expected.promised) {
    if (!runs.has(run)) return `run ${run} was told to be committed and is not there`;
  }
  for (const [run, files] of runs) {
    const wrong = await judgeRun(run, files, expected);
    if (wrong !== undefined) return `${run}: ${wrong}`;
  }
  return undefined;
}

/** The spool after a commit: only the memory of it stays. */
export function judgeSpool(root: FolderNode): string | undefined {
  const folder = at(root, `${spoolDir}/${pipeline}`);
  const left = folder instanceof FolderNode ? folder.entries().map(([name]) => name) : [];
  const more = left.filter((name) => !/^last-[0-9a-f]{16}\.json$/.test(name));
  return more.length > 0 ? `the spool still holds ${more.join(", ")}` : undefined;
}

async function judgeRun(
  run: string,
  files: Map<string, Buffer>,
  expected: Expected,
): Promise<string | undefined> {
  const { sealed, signer, dataset, untidy } = expected;
  const [manifest, signature, sums] = [manifestName, signatureName, sumsName].map((name) =>
    files.get(name),
  );
  if (!manifest) return `left without a manifest: ${[...files.keys()].join(", ")}`;
  if (!signature || !sums) return "the manifest is there, its signature or sums are not";
  const read = await readSigned(manifest, signature, signer);
  if (typeof read === "string") return read;
  const { head, tail, entries } = read;
  if (head.run !== run) return `the manifest is of run ${head.run}`;
  if (tail.totals.records !== dataset.rows) return `${tail.totals.records} records`;
  if (entries.length !== dataset.pages) return `${entries.length} pages`;
  const objects = [...files.keys()].filter((name) => !(untidy && name.startsWith(incomingPrefix)));
  if (objects.length !== entries.length + 3) return `foreign objects: ${objects.join(", ")}`;
  if (sums.toString() !== entries.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join(""))
    return "the sums are not those of the manifest";
  for (const [page, { name, sha256 }] of entries.entries()) {
    const bytes = files.get(name);
    if (!bytes) return `page ${page} is lost`;
    if (hash("sha256", bytes, "hex") !== sha256) return `page ${page} is damaged`;
    const origin = sealed.whose(bytes);
    if (origin?.run !== run || origin.page !== page || origin.dataset !== dataset)
      return `page ${page} holds ${origin ? `page ${origin.page} of ${origin.run}` : "no page"}`;
  }
  return undefined;
}

/** Most manifests come again and again: a signature is a function of key and bytes. */
const known = new Map<string, WholeManifest | string>();

async function readSigned(
  manifest: Buffer,
  signature: Buffer,
  signer: string,
): Promise<WholeManifest | string> {
  const key = hash("sha256", Buffer.concat([signature, manifest]), "hex");
  const read = known.get(key) ?? (await readAnew(manifest, signature, signer));
  if (known.size < 100_000) known.set(key, read);
  return read;
}

async function readAnew(
  manifest: Buffer,
  signature: Buffer,
  signer: string,
): Promise<WholeManifest | string> {
  try {
    const { head, tail, pages } = await readSignedManifest(() => [manifest], signature, signer);
    return { head, tail, entries: await Array.fromAsync(pages()) };
  } catch (error) {
    return String(error);
  }
}

/** Files by name, for each folder below a path; unfinished ones too. */
export function filesBelow(root: FolderNode, path: string): Map<string, Map<string, Buffer>> {
  const found = new Map<string, Map<string, Buffer>>();
  const folder = at(root, path);
  if (!(folder instanceof FolderNode)) return found;
  for (const [name, run] of folder.entries()) {
    const files = new Map<string, Buffer>();
    found.set(name, files);
    if (!(run instanceof FolderNode)) continue;
    for (const [file, node] of run.entries())
      if (node instanceof FileNode) files.set(file, node.now);
  }
  return found;
}

function at(root: FolderNode, path: string): FileNode | FolderNode | undefined {
  let node: FileNode | FolderNode | undefined = root;
  for (const segment of path.split("/").filter(Boolean))
    node = node instanceof FolderNode ? node.get(segment) : undefined;
  return node;
}
