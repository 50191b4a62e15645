/** Whole objects in the wrong place, keys that are not the right ones, and manifests that somebody edited. */
import { generateKeyPairSync } from "node:crypto";
import { cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { signManifest, publicText } from "../../src/pipeline/manifest-signature.ts";
import {
  manifestName,
  signatureName,
  sumsName,
  writeSums,
  type ManifestHead,
} from "../../src/pipeline/manifest.ts";
import { readExport } from "../../src/readback/read-export.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { forgeManifest } from "../../test/fixtures/forge.ts";
import { createKey } from "../../test/fixtures/keys.ts";
import { readWhole } from "../../test/fixtures/manifest.ts";
import { editedManifests, spell, textOf, type Swap } from "./manifests.ts";
import { findMissed, withDamage, type Golden } from "./exports.ts";
import type { Tally } from "./damage.ts";

/** @param other another run of the same pipeline, signed by the same key */
export async function proveSwaps(golden: Golden, other: Golden): Promise<Tally> {
  const failures: string[] = [];
  const swaps = [
    ...pageSwaps(golden),
    ...foreignPages(golden, other),
    ...lostObjects(golden),
    ...(await editedManifests(golden)),
    ...replays(golden, other),
  ];
  for (const { name, change, needsSigner, readable = false } of swaps) {
    const pin = needsSigner ? { signer: golden.signer } : {};
    const expected = { readable, ...pin };
    const apply = () => change(golden.damaged);
    const missed = await withDamage(golden, apply, () => findMissed(golden, expected));
    if (missed !== undefined) failures.push(`${name}: ${missed}`);
  }
  const keys = await proveKeys(golden);
  return { trials: swaps.length + keys.trials, failures: [...failures, ...keys.failures] };
}

const pagesOf = ({ objects }: Golden) => [...objects.keys()].filter((name) => /^\d/.test(name));
const put = (golden: Golden, to: string, from: string) => (folder: string) =>
  writeFile(join(folder, to), golden.objects.get(from)!);

function pageSwaps(golden: Golden): Swap[] {
  const names = pagesOf(golden);
  const next = (name: string) =>
    name.replace(/^\d+/, (n) => String(names.length).padStart(n.length, "0"));
  return names.flatMap((name) => [
    ...names
      .filter((twin) => twin > name)
      .map((twin) => ({
        name: `${name} swapped with ${twin}`,
        change: async (folder: string) => {
          await put(golden, name, twin)(folder);
          await put(golden, twin, name)(folder);
        },
      })),
    ...names
      .filter((twin) => twin !== name)
      .map((twin) => ({ name: `${name} in place of ${twin}`, change: put(golden, twin, name) })),
    { name: `${name} once more at the end`, readable: true, change: put(golden, next(name), name) },
    {
      name: `${name} once more under an odd name`,
      readable: true,
      change: put(golden, `copy-of-${name}`, name),
    },
  ]);
}

/** Pages of the other run under this one's names, with whatever is not signed made to fit, then with all of it. */
function foreignPages(golden: Golden, other: Golden): Swap[] {
  return pagesOf(golden).flatMap((name) => {
    const page = other.objects.get(name)!;
    const place = (folder: string) => writeFile(join(folder, name), page);
    const refit = async () => {
      const { entries } = await readWhole(golden.objects.get(manifestName)!);
      const strange = await readWhole(other.objects.get(manifestName)!);
      const { sha256 } = strange.entries.find((one) => one.name === name)!;
      return entries.map((one) =>
        one.name === name ? { ...one, sha256, bytes: page.length } : one,
      );
    };
    return [
      { name: `${name} of another run`, change: place },
      {
        name: `${name} of another run, with its sums`,
        change: async (folder: string) => {
          await place(folder);
          await writeFile(join(folder, sumsName), await textOf(writeSums(await refit())));
        },
      },
      {
        name: `${name} of another run, with its sums and its line in the manifest`,
        change: async (folder: string) => {
          await place(folder);
          const pages = await refit();
          await writeFile(join(folder, sumsName), await textOf(writeSums(pages)));
          await writeFile(join(folder, manifestName), await spell(golden, {}, pages));
        },
      },
      {
        name: `${name} of another run, signed by somebody else`,
        needsSigner: true,
        change: async (folder: string) => {
          await place(folder);
          const { privateKey } = generateKeyPairSync("ed25519");
          const head = (from: ManifestHead) => ({ ...from, signer: publicText(privateKey) });
          await forgeManifest(folder, privateKey, { head });
        },
      },
    ];
  });
}

function lostObjects({ objects }: Golden): Swap[] {
  return (
    [...objects.keys()]
      // Who does not look at the sums does not miss them.
      .filter((name) => name !== sumsName)
      .flatMap((name) => [
        { name: `${name} deleted`, change: (folder: string) => rm(join(folder, name)) },
        {
          name: `${name} under another name`,
          change: (folder: string) => rename(join(folder, name), join(folder, `${name}.old`)),
        },
      ])
  );
}

/** Signatures and whole exports of another time. */
function replays(golden: Golden, other: Golden): Swap[] {
  const take = (name: string) => (folder: string) =>
    writeFile(join(folder, name), other.objects.get(name)!);
  const sign = async (folder: string) => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const manifest = await readFile(join(folder, manifestName));
    await writeFile(join(folder, signatureName), await signManifest(() => [manifest], privateKey));
  };
  return [
    { name: "the signature of another run", change: take(signatureName) },
    { name: "the manifest of another run", change: take(manifestName) },
    {
      name: "manifest and signature of another run",
      change: async (folder) => {
        await take(manifestName)(folder);
        await take(signatureName)(folder);
      },
    },
    {
      name: "another run in place of this one",
      change: async (folder) => {
        for (const name of golden.objects.keys()) await rm(join(folder, name));
        await cp(other.folder, folder, { recursive: true });
      },
    },
    { name: "a signature by another key", change: sign },
  ];
}

/** Keys that do not open the pages, and a signer that did not sign: told by their own codes, with nothing released. */
async function proveKeys(golden: Golden): Promise<Tally> {
  const url = golden.damaged;
  const another = await createKey();
  const signer = publicText(generateKeyPairSync("ed25519").privateKey);
  const readers = {
    "another identity": { identity: another.identity },
    "no identity": {},
    "a passphrase": { passphrase: "never set" },
    "another signer": { identity: golden.identity, signer },
  };
  const failures: string[] = [];
  for (const [name, options] of Object.entries(readers)) {
    const outcome = await verifyExport(url, { level: "full", ...options }).then(
      ({ ok }) => (ok ? "is taken" : "integrity-failed"),
      (error: { code: string }) => error.code,
    );
    const right =
      name === "another signer"
        ? "integrity-failed"
        : name === "no identity"
          ? "input-missing"
          : "key-wrong";
    if (outcome !== right) failures.push(`${name}: ${outcome}, expected ${right}`);
    const released = await readExport(url, options)
      .next()
      .then(
        ({ done }) => !done,
        () => false,
      );
    if (released) failures.push(`${name}: a row is released`);
  }
  return { trials: Object.keys(readers).length, failures };
}
