/**
 * The Ed25519 key that signs manifests: given as PEM, or made on first use in the state folder, once, whoever races.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { KeyObject } from "node:crypto";
import envPaths from "env-paths";
import { PipelineError, systemCode } from "../errors.ts";
import { linkOnce } from "../stages/destinations/file-work.ts";
import { syncFolder, writeAll } from "../stages/durable-file.ts";
import { publicText } from "./manifest-signature.ts";

export interface SigningKey {
  readonly privateKey: KeyObject;
  /** `ed25519:<base64 of 32 bytes>`: what `verify --signer` pins. */
  readonly publicText: string;
  readonly publicPem: string;
  /** True when the key was made by this call. */
  readonly made: boolean;
}

export const signingKeyName = "signing-key.pem";
const signerName = "signer.pem";

/** Where spillway keeps what must outlive a run: `$XDG_STATE_HOME/spillway` or the platform's own place. */
export function stateFolder(): string {
  const paths = envPaths("spillway", { suffix: "" });
  // env-paths calls the XDG state folder `log`; elsewhere state belongs to data.
  return process.platform === "linux" ? paths.log : paths.data;
}

/**
 * Gives the signing key: from `pem`, else from `folder`, where it is made (0600, its public half beside it as
 * `signer.pem`) when there is none.
 * @throws PipelineError `config-invalid` when the key is not Ed25519 or others may read its file.
 */
export async function loadSigningKey(
  pem: string | undefined,
  folder: string = stateFolder(),
): Promise<SigningKey> {
  if (pem !== undefined) return toSigningKey(pem, "the signing key given", false);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, signingKeyName);
  const found = await readKey(path);
  if (found !== undefined) return toSigningKey(found, path, false);
  const made = await makeKey(folder, path);
  const key = toSigningKey(made ?? (await readKey(path)) ?? "", path, made !== undefined);
  if (key.made) await writeOnce(folder, join(folder, signerName), key.publicPem, 0o644);
  return key;
}

async function readKey(path: string): Promise<string | undefined> {
  let file;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw unreadable(path, error);
  }
  try {
    const { mode } = await file.stat();
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new PipelineError(
        "config-invalid",
        `sign: ${path} can be read by others; expected mode 0600: run chmod 600 on it, or make a new key if it leaked`,
      );
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/** Undefined when another process was quicker. The name appears with the whole key below it, or not at all. */
async function makeKey(folder: string, path: string): Promise<string | undefined> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return (await writeOnce(folder, path, pem, 0o600)) ? pem : undefined;
}

/** False when the name is taken; what has it stays as it is. */
async function writeOnce(folder: string, path: string, text: string, mode: number) {
  const incoming = join(folder, `.incoming-${randomUUID()}`);
  const file = await open(incoming, "wx", mode);
  try {
    await writeAll(file, Buffer.from(text), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  const linked = linkOnce(incoming, path);
  await Promise.allSettled([linked]);
  await unlink(incoming);
  await syncFolder(folder);
  return linked;
}

function toSigningKey(pem: string, where: string, made: boolean): SigningKey {
  let privateKey: KeyObject | undefined;
  try {
    privateKey = createPrivateKey(pem);
  } catch {
    // Told below; OpenSSL's own words may quote what it read.
  }
  if (privateKey?.asymmetricKeyType !== "ed25519") {
    throw new PipelineError(
      "config-invalid",
      `sign: ${where} cannot be read; expected an Ed25519 private key as PEM, without a passphrase`,
    );
  }
  const publicKey = createPublicKey(privateKey);
  const publicPem = publicKey.export({ type: "spki", format: "pem" }).toString();
  return { privateKey, publicText: publicText(publicKey), publicPem, made };
}

function unreadable(path: string, cause: unknown): PipelineError {
  return new PipelineError(
    "config-invalid",
    `sign: ${path} cannot be used (${systemCode(cause) ?? "unknown error"}); expected a plain file in a folder of your own`,
    { cause },
  );
}
