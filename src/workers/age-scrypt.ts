/**
 * The passphrase way into an age file (https://c2sp.org/age#the-scrypt-recipient-type), with node:crypto's scrypt.
 */
import { randomBytes, scryptSync } from "node:crypto";
import { damagedAge, openSmall, sealSmall } from "./age-body.ts";
import { fromUnpadded, unpadded, type AgeStanza } from "./age-header.ts";

// 2^14 takes 16 MiB (128 · N · r), so that a worker stays inside the run's memory budget; each step more doubles
// it. The passphrase therefore has to be long: this work factor alone does not stop a patient attacker.
const logNOfPages = 14;

/** The most work a page may ask of its reader: 2^16 takes 64 MiB, and the header is not authenticated before. */
export const maxPageLogN = 16;
/** Identity files made by `age -p` ask for 2^18 (256 MiB), once. */
export const maxIdentityFileLogN = 20;

/** Wraps a file key under `passphrase`, with a fresh salt. */
export function wrapWithPassphrase(fileKey: Uint8Array, passphrase: string): AgeStanza {
  const salt = randomBytes(16);
  const body = sealSmall(fileKey, scryptKey(passphrase, salt, logNOfPages));
  return { args: ["scrypt", unpadded(salt), String(logNOfPages)], body };
}

/**
 * Finds the file key; null when the header has no passphrase or another one.
 * @throws PipelineError `integrity-failed` when the header is malformed or asks for more than 2^`maxLogN` work.
 */
export function unwrapWithPassphrase(
  stanzas: readonly AgeStanza[],
  passphrase: string,
  maxLogN: number,
): Uint8Array | null {
  const stanza = stanzas.find(({ args }) => args[0] === "scrypt");
  if (!stanza) return null;
  const [, saltText = "", logNText = ""] = stanza.args;
  const salt = fromUnpadded(saltText);
  const logN = /^[1-9]\d?$/.test(logNText) ? Number(logNText) : Number.NaN;
  // age allows a passphrase only as the single way in.
  const sound = stanzas.length === 1 && stanza.args.length === 3 && stanza.body.length === 32;
  if (!sound || salt?.length !== 16 || !(logN <= maxLogN)) {
    throw damagedAge(`its passphrase header is malformed or asks for more than 2^${maxLogN} work`);
  }
  const fileKey = openSmall(stanza.body, scryptKey(passphrase, salt, logN));
  return fileKey ? Uint8Array.from(fileKey) : null;
}

function scryptKey(passphrase: string, salt: Uint8Array, logN: number): Uint8Array {
  const labelled = Buffer.concat([Buffer.from("age-encryption.org/v1/scrypt"), salt]);
  const N = 2 ** logN;
  return scryptSync(passphrase, labelled, 32, { N, r: 8, p: 1, maxmem: 128 * 8 * N + 2 ** 20 });
}
