/**
 * The header of an age v1 file (https://c2sp.org/age): stanzas that wrap the file key, and a MAC under it. Written
 * with node:crypto, because the age-encryption library costs each worker 25 MB and each page a millisecond.
 */
import {
  createHmac,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  timingSafeEqual,
  type KeyObject,
} from "node:crypto";
import { damagedAge, openSmall, sealSmall } from "./age-body.ts";
import { rawPublicKey, toPublicKey, type PublicKey } from "./age-keys.ts";

/** One way to the file key. */
export interface AgeStanza {
  readonly args: readonly string[];
  readonly body: Uint8Array;
}

export interface AgeHeader {
  readonly stanzas: readonly AgeStanza[];
  /** Bytes of the header in the file. */
  readonly bytes: number;
  /** What the MAC is over. */
  readonly authentic: Uint8Array;
  readonly mac: Uint8Array;
}

const version = "age-encryption.org/v1";
const maxHeaderBytes = 256 * 1024;
const lineLetters = 64;
const lineBytes = 48;

/** Writes a header that gives `fileKey` to whoever opens one of `stanzas`. */
export function encodeHeader(stanzas: readonly AgeStanza[], fileKey: Uint8Array): Uint8Array {
  let text = `${version}\n`;
  for (const { args, body } of stanzas) {
    text += `-> ${args.join(" ")}\n`;
    const letters = unpadded(body);
    // The last line is always shorter than 64 letters, so an empty one may follow.
    for (let at = 0; at <= letters.length; at += lineLetters) {
      text += `${letters.slice(at, at + lineLetters)}\n`;
    }
  }
  text += "---";
  return Buffer.from(`${text} ${unpadded(headerMac(fileKey, Buffer.from(text)))}\n`);
}

/**
 * Reads the header at the start of `file`; its MAC is checked by `checkMac`, once the file key is known.
 * @throws PipelineError `integrity-failed` when there is none in its one spelling.
 */
export function parseHeader(file: Uint8Array): AgeHeader {
  const start = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, maxHeaderBytes));
  const macAt = start.indexOf("\n--- ") + 1;
  const end = macAt > 0 ? start.indexOf("\n", macAt) + 1 : 0;
  const lines = start.toString("latin1", 0, macAt).split("\n").slice(0, -1);
  if (end === 0 || lines.shift() !== version) throw damagedAge("it has no age header");
  const stanzas: AgeStanza[] = [];
  while (lines.length > 0) stanzas.push(readStanza(lines));
  const mac = fromUnpadded(start.toString("latin1", macAt + 4, end - 1));
  if (stanzas.length === 0 || mac?.length !== 32) throw damagedAge("its header is malformed");
  return { stanzas, bytes: end, authentic: start.subarray(0, macAt + 3), mac };
}

/** Takes one stanza from the front of `lines`: its arguments, full lines of its body, then a shorter one. */
function readStanza(lines: string[]): AgeStanza {
  const [arrow, ...args] = (lines.shift() ?? "").split(" ");
  const sound = arrow === "->" && args.length > 0 && args.every((arg) => /^[!-~]+$/.test(arg));
  const full = lines.findIndex((line) => line.length !== lineLetters);
  const body = fromUnpadded(lines.splice(0, full + 1).join(""));
  // False too for a last line that is longer than a full one.
  const ends = full >= 0 && body !== undefined && Math.floor(body.length / lineBytes) === full;
  if (!sound || !ends) throw damagedAge("its header is malformed");
  return { args, body };
}

/** @throws PipelineError `integrity-failed` when the header was not written by who knows the file key. */
export function checkMac({ authentic, mac }: AgeHeader, fileKey: Uint8Array): void {
  if (!timingSafeEqual(headerMac(fileKey, authentic), mac)) {
    throw damagedAge("its header is not authentic");
  }
}

function headerMac(fileKey: Uint8Array, authentic: Uint8Array): Buffer {
  const key = hkdfSync("sha256", fileKey, "", "header", 32);
  return createHmac("sha256", new Uint8Array(key)).update(authentic).digest();
}

/** Wraps a file key for an X25519 public key, with a fresh ephemeral key. */
export function wrapForKey(fileKey: Uint8Array, recipient: PublicKey): AgeStanza {
  const ephemeral = generateKeyPairSync("x25519");
  const share = rawPublicKey(ephemeral.publicKey);
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: recipient.key });
  const body = sealSmall(fileKey, wrapKey(shared, share, recipient.raw));
  return { args: ["X25519", unpadded(share)], body };
}

/**
 * Finds the file key for an X25519 secret key; null when no stanza is for it.
 * @throws PipelineError `integrity-failed` when a stanza is malformed.
 */
export function unwrapWithKey(
  stanzas: readonly AgeStanza[],
  privateKey: KeyObject,
): Uint8Array | null {
  const recipient = rawPublicKey(privateKey);
  for (const { args, body } of stanzas) {
    if (args[0] !== "X25519") continue;
    const share = fromUnpadded(args[1] ?? "");
    if (args.length !== 2 || share?.length !== 32 || body.length !== 32) {
      throw damagedAge("its header is malformed");
    }
    const shared = agree(privateKey, share);
    const fileKey = openSmall(body, wrapKey(shared, share, recipient));
    if (fileKey) return Uint8Array.from(fileKey);
  }
  return null;
}

function agree(privateKey: KeyObject, share: Uint8Array): Uint8Array {
  try {
    return diffieHellman({ privateKey, publicKey: toPublicKey(share) });
  } catch (cause) {
    // OpenSSL refuses points of low order, whose shared secret would be zero for everybody.
    throw damagedAge("its header is malformed", cause);
  }
}

function wrapKey(shared: Uint8Array, share: Uint8Array, recipient: Uint8Array): Uint8Array {
  const salt = Buffer.concat([share, recipient]);
  return new Uint8Array(hkdfSync("sha256", shared, salt, `${version}/X25519`, 32));
}

/** Base64 as age headers have it: standard letters, no padding. */
export const unpadded = (bytes: Uint8Array): string =>
  Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** Undefined for any spelling but the one `unpadded` writes. */
export function fromUnpadded(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  return unpadded(bytes) === text ? bytes : undefined;
}
