/**
 * Ed25519 over a message that is never held: pure EdDSA as `openssl pkeyutl -rawin` makes and checks it, in two readings
 * for a signature and one for a check. Source: RFC 8032 §5.1. Hashes are Node's, the arithmetic of the curve is the
 * library's, of which only that is loaded: all of it would weigh 3 MB, at the very end of a run.
 */
import { createHash, createPublicKey, hash, type KeyObject } from "node:crypto";
import { edwards } from "@noble/curves/abstract/edwards.js";
import { bytesToNumberLE } from "@noble/curves/utils.js";
import { PipelineError } from "../errors.ts";
import type { Reread } from "../stages/durable-file.ts";

const prime = 2n ** 255n - 19n;

/** RFC 8032 §5.1, table 1. */
const Point = edwards({
  p: prime,
  n: 2n ** 252n + 27742317777372353535851937790883648493n,
  h: 8n,
  a: prime - 1n,
  d: 37095705934669439343138083508754565189542113879843219016388785533085940283555n,
  Gx: 15112221349535400772501151409588531511454012693041857206046113283949847762202n,
  Gy: 46316835694926478169428394003475163141307993866256225615783033603165251855960n,
});
/** A twin of `Point.BASE`, for which a table of 1400 multiples would be made at the first use, and there is one use a run. */
const base = Point.fromAffine(Point.BASE.toAffine());
/** Numbers below the order of the base point. */
const Scalar = Point.Fn;
const signatureBytes = 64;

/**
 * Signs what `message` gives, which is read twice.
 * @returns 64 bytes
 * @throws PipelineError `integrity-failed` where the readings differ: with the same nonce under two messages a signature would tell the key
 */
export async function signStreamed(message: Reread, privateKey: KeyObject): Promise<Uint8Array> {
  const seed = Buffer.from(privateKey.export({ format: "jwk" }).d!, "base64url");
  const secret = hash("sha512", seed, "buffer");
  const scalar = clamp(secret.subarray(0, 32));
  const first = await digest([secret.subarray(32)], message);
  seed.fill(0);
  secret.fill(0);
  const nonce = toScalar(first.sha512);
  const commitment = base.multiply(nonce).toBytes();
  const second = await digest([commitment, rawOf(privateKey)], message);
  if (first.sha256 !== second.sha256) {
    throw new PipelineError(
      "integrity-failed",
      "manifest: it changed while it was signed; nothing was signed",
    );
  }
  const proof = Scalar.add(nonce, Scalar.mul(toScalar(second.sha512), scalar));
  return Buffer.concat([commitment, Scalar.toBytes(proof)]);
}

export interface Checked {
  readonly isSound: boolean;
  /** SHA-256 (hex) of the message. */
  readonly sha256: string;
}

/** Checks a signature over what `message` gives, which is read once. A key or a signature that is none is not sound. */
export async function checkStreamed(
  message: Reread,
  signature: Uint8Array,
  key: KeyObject,
): Promise<Checked> {
  const commitment = signature.subarray(0, 32);
  const publicKey = rawOf(key);
  const { sha512, sha256 } = await digest([commitment, publicKey], message);
  return { isSound: isSound(toScalar(sha512), signature, publicKey), sha256 };
}

/** 8-fold multiples are not forgiven: the commitment must be the very bytes, as OpenSSL has it. */
function isSound(challenge: bigint, signature: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.length !== signatureBytes) return false;
  try {
    const proof = Scalar.fromBytes(signature.subarray(32));
    const key = Point.fromBytes(publicKey);
    // One signature by such a key fits many messages.
    if (key.isSmallOrder()) return false;
    const expected = base.multiplyUnsafe(proof).subtract(key.multiplyUnsafe(challenge));
    return Buffer.compare(expected.toBytes(), signature.subarray(0, 32)) === 0;
  } catch {
    // Not a number below the order of the group, or not a point of the curve.
    return false;
  }
}

const rawOf = (key: KeyObject): Buffer => {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url");
};

async function digest(before: readonly Uint8Array[], message: Reread) {
  const [sha512, sha256] = [createHash("sha512"), createHash("sha256")];
  for (const bytes of before) sha512.update(bytes);
  for await (const piece of message()) {
    sha512.update(piece);
    sha256.update(piece);
  }
  return { sha512: sha512.digest(), sha256: sha256.digest("hex") };
}

/** The secret scalar of RFC 8032 §5.1.5: a multiple of 8 whose highest bit is fixed. */
function clamp(half: Buffer): bigint {
  const bytes = Buffer.from(half);
  bytes[0]! &= 0b1111_1000;
  bytes[31] = (bytes[31]! & 0b0111_1111) | 0b0100_0000;
  return toScalar(bytes);
}

/** A number of any length, the least byte first, modulo the order. */
const toScalar = (bytes: Uint8Array): bigint => Scalar.create(bytesToNumberLE(bytes));
