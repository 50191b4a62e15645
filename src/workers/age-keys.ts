/**
 * X25519 keys as age spells them: Bech32 (BIP 173), `age1…` public and `AGE-SECRET-KEY-1…` secret.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";

const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const checksumLetters = 6;

// What DER has before the 32 bytes of an X25519 key (RFC 8410).
const spkiHead = Buffer.from("302a300506032b656e032100", "hex");
const pkcs8Head = Buffer.from("302e020100300506032b656e04220420", "hex");

/** Kinds of recipients: the prefix before the last `1`, and how many bytes follow. */
const recipientBytes = { age: 32, age1pq: 1216, age1tag: 33, age1tagpq: 1249 };

/** An X25519 public key: its 32 bytes, and as node:crypto takes it. */
export interface PublicKey {
  readonly raw: Uint8Array;
  readonly key: KeyObject;
}

/** Keys that were read before: a run has few, and each of its pages names them again. */
const known = new Map<string, PublicKey>();

/** The public key of `age1…`; undefined when the text is not an X25519 recipient. */
export function readRecipient(text: string): PublicKey | undefined {
  const before = known.get(text);
  if (before) return before;
  const raw = decodeBech32("age", recipientBytes.age, text);
  if (!raw) return undefined;
  const read = { raw, key: toPublicKey(raw) };
  known.set(text, read);
  return read;
}

/** Whether a text is a recipient of any kind: X25519, post-quantum, or of a hardware key. */
export const isRecipient = (text: string): boolean =>
  Object.entries(recipientBytes).some(([prefix, bytes]) => decodeBech32(prefix, bytes, text));

/** The secret key of `AGE-SECRET-KEY-1…`; undefined when the text is not an X25519 identity. */
export function readIdentity(text: string): KeyObject | undefined {
  if (text !== text.toUpperCase()) return undefined;
  const scalar = decodeBech32("age-secret-key-", 32, text.toLowerCase());
  if (!scalar) return undefined;
  return createPrivateKey({
    key: Buffer.concat([pkcs8Head, scalar]),
    format: "der",
    type: "pkcs8",
  });
}

export const toPublicKey = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([spkiHead, raw]), format: "der", type: "spki" });

/** The 32 bytes of the public half of `key`. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  // A JWK holds it as it is, in a sixteenth of the time that OpenSSL takes to write a DER of it.
  return Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url");
}

function decodeBech32(prefix: string, length: number, text: string): Uint8Array | undefined {
  if (!text.startsWith(`${prefix}1`)) return undefined;
  const data = text.slice(prefix.length + 1);
  const letters = Array.from(data, (letter) => alphabet.indexOf(letter));
  const codes = Array.from(prefix, (letter) => letter.charCodeAt(0));
  const spread = [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
  if (letters.includes(-1) || polymod([...spread, ...letters]) !== 1) return undefined;
  const bytes = joinBits(letters.slice(0, -checksumLetters));
  return bytes?.length === length ? bytes : undefined;
}

function polymod(values: readonly number[]): number {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    for (const [bit, generator] of generators.entries()) if ((top >>> bit) & 1) sum ^= generator;
  }
  return sum;
}

/** Letters of five bits to bytes; what is left over must be fewer than five bits, all zero. */
function joinBits(letters: readonly number[]): Uint8Array | undefined {
  const bytes: number[] = [];
  let buffer = 0;
  let bits = 0;
  for (const letter of letters) {
    buffer = ((buffer << 5) | letter) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((buffer >>> bits) & 0xff);
  }
  const rest = buffer & ((1 << bits) - 1);
  return bits < 5 && rest === 0 ? Uint8Array.from(bytes) : undefined;
}
