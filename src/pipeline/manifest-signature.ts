/**
 * Ed25519 over the exact bytes of `manifest.json`, raw, 64 bytes, in `manifest.json.sig`: what
 * `openssl pkeyutl -verify -rawin` checks. Source: RFC 8032 (PureEdDSA).
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { PipelineError } from "../errors.ts";
import type { Reread } from "../stages/durable-file.ts";
import { readManifest, type Manifest } from "./read-manifest.ts";

// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) before the 32 bytes of the key itself.
const spkiHead = Buffer.from("302a300506032b6570032100", "hex");

/** Signs a manifest, which is read twice. Gives 64 bytes. */
export async function signManifest(read: Reread, privateKey: KeyObject): Promise<Uint8Array> {
  const { signStreamed } = await import("./ed25519.ts");
  return signStreamed(read, privateKey);
}

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

function keyNamedBy(signer: string): KeyObject {
  try {
    return parseSigner(signer);
  } catch (cause) {
    throw new PipelineError("integrity-failed", "manifest: its signer is no Ed25519 key", {
      cause,
    });
  }
}

export interface SignedManifest extends Manifest, Verified {
  /** SHA-256 (hex) of its text. */
  readonly sha256: string;
}

/**
 * Reads a manifest and checks its signature over its exact bytes. Without `pinned` this proves only that nothing changed
 * since the holder of *some* key signed: pin the signer to know whose. What `read` gives must be the same each time.
 * @throws PipelineError `integrity-failed` when the signature is wrong or by another than `pinned`, and as `readManifest` does.
 */
export async function readSignedManifest(
  read: Reread,
  signature: Uint8Array,
  pinned?: string,
): Promise<SignedManifest> {
  const { checkStreamed } = await import("./ed25519.ts");
  const expected = pinned === undefined ? undefined : parseSigner(pinned);
  const manifest = await readManifest(read);
  const { signer } = manifest.head;
  const key = expected ?? keyNamedBy(signer);
  const { isSound, sha256 } = await checkStreamed(read, signature, key);
  if (!isSound) {
    throw new PipelineError(
      "integrity-failed",
      expected
        ? "manifest: its signature is not by the pinned signer; it was changed or signed by somebody else"
        : "manifest: its signature is not by the signer it names; it was changed after signing",
    );
  }
  if (publicText(key) !== signer) {
    throw new PipelineError("integrity-failed", "manifest: it names another signer than signed it");
  }
  return { ...manifest, signer, pinned: expected !== undefined, sha256 };
}
