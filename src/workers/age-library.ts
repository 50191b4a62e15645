/**
 * What only the age-encryption library does: post-quantum and hardware keys, making keys, armored files. Loaded when
 * it is needed and not before; the only file that knows it.
 */
import {
  Decrypter,
  Encrypter,
  armor,
  generateX25519Identity,
  identityToRecipient,
} from "age-encryption";
import { bodyNonceBytes } from "./age-body.ts";

export { generateX25519Identity, identityToRecipient };

const emptyBodyBytes = bodyNonceBytes + 16;

/** Makes a header for any recipients the library knows, and tells the fresh file key in it. */
export async function makeHeader(
  to: readonly string[],
): Promise<{ header: Uint8Array; fileKey: Uint8Array }> {
  const encrypter = new Encrypter();
  for (const recipient of to) encrypter.addRecipient(recipient);
  let fileKey = new Uint8Array(0);
  // A recipient that wraps nothing learns the file key; the library never gives it out otherwise.
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  const empty = await encrypter.encrypt(new Uint8Array(0));
  return { header: empty.subarray(0, empty.length - emptyBodyBytes), fileKey };
}

/** An identity the library can open with; undefined for a text that is none. */
export function openerFor(identity: string): Decrypter | undefined {
  try {
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    return decrypter;
  } catch {
    return undefined;
  }
}

/** The file key; null when the header is for somebody else. Throws the library's words for a malformed header. */
export async function openHeader(
  header: Uint8Array,
  decrypter: Decrypter,
): Promise<Uint8Array | null> {
  try {
    return await decrypter.decryptHeader(Uint8Array.from(header));
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("no identity matched")) return null;
    throw error;
  }
}

/** The bytes of an armored file. */
export const decodeArmor = (text: string): Uint8Array => armor.decode(text);
