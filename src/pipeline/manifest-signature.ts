/**
 * Ed25519 over the exact bytes of `manifest.json`, raw, 64 bytes, in `manifest.json.sig`: what
 * `openssl pkeyutl -verify -rawin` checks. Source: RFC 8032 (PureEdDSA).
 */
import { createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { PipelineError } from "../errors.ts";
import { readManifest } from "./read-manifest.ts";

const signatureBytes = 64;
// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) before the 32 bytes of the key itself.
const spkiHead = Buffer.from("302a300506032b6570032100", "hex");

/** Signs a manifest. Gives 64 bytes. Ed25519 reads its message twice, so the manifest is held whole. */
export const signManifest = (bytes: Uint8Array, privateKey: KeyObject): Uint8Array =>
  sign(null, bytes, privateKey);

/** The public half of a key as the manifest and `--signer` spell it: `ed25519:<base64 of 32 bytes>`. */
export function publicText(key: KeyObject): string {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const spki = publicKey.export({ type: "spki", format: "der" });
  return `ed25519:${spki.subarray(spkiHead.length).toString("base64")}`;
}

/**
 * Reads a signer: `ed25519:<base64>` or a PEM public key.
 * @throws PipelineError `config-invalid` for anything else.
 */
export function parseSigner(text: string): KeyObject {
  const raw = Buffer.from(text.trim().replace(/^ed25519:/, ""), "base64");
  try {
    const key = text.includes("-----BEGIN PUBLIC KEY-----")
      ? createPublicKey(text)
      : createPublicKey({ key: Buffer.concat([spkiHead, raw]), format: "der", type: "spki" });
    const spelled = text.trim();
    const sound = spelled.startsWith("-----") || publicText(key) === spelled;
    if (key.asymmetricKeyType === "ed25519" && sound) return key;
  } catch {
    // Told below, without the text.
  }
  throw new PipelineError(
    "config-invalid",
    "the signer cannot be read; expected ed25519:<base64 of 32 bytes> or a PEM public key",
  );
}

/** Who signed, and whether that was demanded or only claimed by the manifest itself. */
export interface Verified {
  /** `ed25519:<base64>`. */
  readonly signer: string;
  readonly pinned: boolean;
}

/**
 * Checks the signature of a manifest over its exact bytes. Without `pinned` this proves only that nothing changed
 * since the holder of *some* key signed: pin the signer to know whose.
 * @throws PipelineError `integrity-failed` when the signature is wrong or by another than `pinned`.
 */
export function verifyManifestSignature(
  bytes: Uint8Array,
  signature: Uint8Array,
  pinned?: string,
): Verified {
  const expected = pinned === undefined ? undefined : parseSigner(pinned);
  const signer = expected ? publicText(expected) : readManifest(bytes).head.signer;
  const sound =
    signature.length === signatureBytes &&
    verify(null, bytes, expected ?? parseSigner(signer), signature);
  if (!sound) {
    throw new PipelineError(
      "integrity-failed",
      expected
        ? "manifest: its signature is not by the pinned signer; it was changed or signed by somebody else"
        : "manifest: its signature is not by the signer it names; it was changed after signing",
    );
  }
  if (expected && readManifest(bytes).head.signer !== signer) {
    throw new PipelineError("integrity-failed", "manifest: it names another signer than signed it");
  }
  return { signer, pinned: expected !== undefined };
}
