/**
 * The Ed25519 key that signs manifests: given as PEM, or made on first use in the state folder, once, whoever races.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { chmod, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { KeyObject } from "node:crypto";
import envPaths from "env-paths";
import { PipelineError, systemCode } from "../errors.ts";
import { linkOnce, statOf } from "../stages/destinations/file-work.ts";
import { incomingPrefix } from "../stages/destinations/object-names.ts";
import { makeTopFolder, syncFolder, writeSynced } from "../stages/durable-file.ts";
import { publicText } from "./manifest-signature.ts";
import { withFile } from "./with-file.ts";

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
  const path = join(folder, signingKeyName);
  try {
    await makeTopFolder(folder);
    const found = await readKey(path);
    const made = found === undefined ? await makeKey(folder, path) : undefined;
    const text = found ?? made ?? (await readKey(path)) ?? "";
    const key = toSigningKey(text, path, made !== undefined);
    await tellSigner(folder, key);
    return key;
  } catch (error) {
    throw refusal(path, error);
  }
}

/**
 * Puts the public half beside the key, even of one that was made before a crash. Once both are there nobody
 * needs what a crash left unfinished; a folder that takes no files has nothing to tidy up.
 */
async function tellSigner(folder: string, { made, publicPem }: SigningKey): Promise<void> {
  const path = join(folder, signerName);
  const tell = async () => {
    // Of a key that is gone.
    if (made) await unlink(path).catch(() => {});
    return (await statOf(path)) !== undefined || writeOnce(folder, path, publicPem, 0o644);
  };
  const [outcome] = await Promise.allSettled([tell()]);
  if (outcome.status === "rejected" && made) throw outcome.reason;
  if (outcome.status === "rejected") return;
  for (const name of await readdir(folder)) {
    if (name.startsWith(incomingPrefix)) await unlink(join(folder, name)).catch(() => {});
  }
}

async function readKey(path: string): Promise<string | undefined> {
  try {
    return await withFile(path, constants.O_RDONLY | constants.O_NOFOLLOW, async (file) => {
      const { mode } = await file.stat();
      if (process.platform !== "win32" && (mode & 0o077) !== 0) {
        throw new PipelineError(
          "config-invalid",
          `sign: ${path} can be read by others; expected mode 0600: run chmod 600 on it, or make a new key if it leaked`,
        );
      }
      return await file.readFile("utf8");
    });
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
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
  const incoming = join(folder, `${incomingPrefix}${randomUUID()}`);
  await writeSynced(incoming, [Buffer.from(text)]);
  try {
    await chmod(incoming, mode);
    return await linkOnce(incoming, path);
  } catch (error) {
    // Somebody was quicker, and tidied up.
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  } finally {
    await unlink(incoming).catch(() => {});
    await syncFolder(folder);
  }
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

const passing = new Set(["EIO", "ENOSPC", "EDQUOT"]);

/** A disk that fails or is full may take the key later; any other refusal is of the folder itself. */
function refusal(path: string, cause: unknown): unknown {
  const code = systemCode(cause);
  if (cause instanceof PipelineError || code === undefined) return cause;
  if (!passing.has(code)) return unreadable(path, cause);
  return new PipelineError(
    code === "EIO" ? "spool-failed" : "disk-full",
    `sign: ${path} cannot be made or read (${code}); see to its disk and run again`,
    { cause },
  );
}
