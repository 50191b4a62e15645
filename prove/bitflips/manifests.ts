/** Manifests that somebody edited who does not hold the signing key. */
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { publicText } from "../../src/pipeline/manifest-signature.ts";
import {
  manifestName,
  writeManifest,
  type ManifestHead,
  type PageEntry,
} from "../../src/pipeline/manifest.ts";
import { gather } from "../../src/stages/durable-file.ts";
import { readWhole } from "../../test/fixtures/manifest.ts";
import type { Golden } from "./exports.ts";

/** A change to the folder of an export that every reader must notice. */
export interface Swap {
  readonly name: string;
  readonly change: (folder: string) => Promise<void>;
  /** Only more than the manifest names: restore and readExport read on. */
  readonly readable?: boolean;
  /** Found only by who demands the signer: somebody else signed a whole export. */
  readonly needsSigner?: boolean;
}

/** Each fact of the manifest edited and spelled again as format 1 spells it, by somebody without the key. */
export async function editedManifests(golden: Golden): Promise<Swap[]> {
  const { head, entries: all, tail } = await readWhole(golden.objects.get(manifestName)!);
  const { totals } = tail;
  const heads: Partial<ManifestHead>[] = [
    { run: head.run.replace(/.$/, (last) => (last === "0" ? "1" : "0")) },
    { pipeline: "another" },
    { generation: head.generation + 1 },
    { previous: "0".repeat(64) },
    { tool: { name: "spillway", version: "9.9.9" } },
    { started: "2020-01-01T00:00:00.000Z" },
    { finished: "2020-01-01T00:00:00.000Z" },
    { configDigest: "0".repeat(64) },
    { queryDigest: "1".repeat(64) },
    { consistency: { class: "snapshot", proof: {} } },
    { schema: { columns: [] } },
    { layers: { ...head.layers, compress: "gzip" } },
    { layers: { ...head.layers, encrypt: "none" } },
    { layers: { ...head.layers, extension: "csv" } },
    { signer: publicText(generateKeyPairSync("ed25519").privateKey) },
  ];
  const change = (first: Partial<PageEntry>) => [{ ...all[0]!, ...first }, ...all.slice(1)];
  const entries: readonly PageEntry[][] = [
    change({ records: all[0]!.records + 1 }),
    change({ bytes: all[0]!.bytes + 1 }),
    change({ sha256: all[1]!.sha256 }),
    change({ span: "first", records: 0 }),
    all.slice(1),
    all.slice(0, -1),
    all.toReversed(),
    [...all, { ...all.at(-1)!, name: all.at(-1)!.name.replace(/^\d+/, "00000003") }],
  ];
  const write = (name: string, text: string): Swap => ({
    name: `the manifest with another ${name}`,
    change: (folder) => writeFile(join(folder, manifestName), text),
  });
  const edited = [
    ...heads.map(async (edit) => write(Object.keys(edit).join(), await spell(golden, edit, all))),
    ...entries.map(async (edit, i) => write(`list of pages (${i})`, await spell(golden, {}, edit))),
    spell(golden, {}, all, totals.plainBytes + 1).then((text) => write("total", text)),
  ];
  return Promise.all(edited);
}

export async function spell(
  golden: Golden,
  edit: Partial<ManifestHead>,
  pages: readonly PageEntry[],
  plainBytes?: number,
): Promise<string> {
  const { head, tail } = await readWhole(golden.objects.get(manifestName)!);
  const { totals, ...rest } = tail;
  const ending = { ...rest, plainBytes: plainBytes ?? totals.plainBytes };
  return textOf(writeManifest({ ...head, ...edit }, pages, () => ending));
}

export const textOf = async (parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) =>
  (await gather(parts)).toString();
