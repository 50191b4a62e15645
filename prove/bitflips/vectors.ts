/**
 * The public test vectors of age (C2SP CCTV): files with one fault each, and what becomes of them.
 * Source: https://c2sp.org/CCTV/age
 */
import { hash } from "node:crypto";
import { inflateSync } from "node:zlib";
import * as vectors from "cctv-age";
import { openAge } from "../../src/workers/age.ts";
import { decodeArmor } from "../../src/workers/age-library.ts";
import type { Tally } from "./damage.ts";

interface Vector {
  readonly expect: string;
  readonly payload: string | undefined;
  readonly identities: readonly string[];
  readonly passphrases: readonly string[];
  readonly armored: boolean;
  readonly file: Buffer;
}

function parse(bytes: Uint8Array): Vector {
  const all = Buffer.from(bytes);
  const end = all.indexOf("\n\n");
  const lines = all
    .toString("latin1", 0, end)
    .split("\n")
    .map((line) => line.split(": "));
  const valuesOf = (name: string) =>
    lines.filter(([key]) => key === name).map(([, value]) => value!);
  const body = all.subarray(end + 2);
  return {
    expect: valuesOf("expect")[0]!,
    payload: valuesOf("payload")[0],
    identities: valuesOf("identity"),
    passphrases: valuesOf("passphrase"),
    armored: valuesOf("armored")[0] === "yes",
    file: valuesOf("compressed")[0] === "zlib" ? inflateSync(body) : body,
  };
}

/** The codes that say what a vector expects. */
const codesOf: Readonly<Record<string, readonly string[]>> = {
  success: ["opens"],
  "no match": ["key-wrong"],
  "HMAC failure": ["integrity-failed"],
  "header failure": ["integrity-failed"],
  "payload failure": ["integrity-failed"],
  "armor failure": ["not armored"],
};

export async function proveVectors(): Promise<Tally> {
  const failures: string[] = [];
  for (const [name, bytes] of Object.entries(vectors)) {
    const vector = parse(bytes);
    const outcome = await open(vector);
    if (!codesOf[vector.expect]!.includes(outcome))
      failures.push(`${name}: ${outcome}, expected ${vector.expect}`);
  }
  return { trials: Object.keys(vectors).length, failures };
}

async function open({ file, armored, identities, passphrases, payload }: Vector): Promise<string> {
  let sealed: Uint8Array = Uint8Array.from(file);
  if (armored) {
    try {
      sealed = decodeArmor(file.toString("latin1"));
    } catch {
      return "not armored";
    }
  }
  const [passphrase] = passphrases;
  try {
    const opened = await openAge(sealed, {
      identities,
      ...(passphrase !== undefined && { passphrase }),
    });
    return hash("sha256", opened, "hex") === payload ? "opens" : "opens to something else";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
