/**
 * Short texts that may hold people's data, sealed for files that stay on a disk.
 *
 * The key that opens them is made of a password that lies in no file of ours, and of a salt that does. A digest would not
 * do: numbers are guessed and compared in no time.
 */
import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";

export interface TextSealer {
  seal(text: string): string;
  /** Undefined where it was sealed by another password, or under another salt. */
  open(sealed: string): string | undefined;
}

const algorithm = "aes-256-gcm";
const rounds = 300_000;
const nonceBytes = 12;
const tagBytes = 16;

export async function createTextSealer(password: string, salt: Uint8Array): Promise<TextSealer> {
  const key = await promisify(pbkdf2)(password, salt, rounds, 32, "sha256");
  return {
    seal(text) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
      const parts = [nonce, cipher.update(text), cipher.final()];
      return Buffer.concat([...parts, cipher.getAuthTag()]).toString("base64");
    },
    open(sealed) {
      const bytes = Buffer.from(sealed, "base64");
      if (bytes.length < nonceBytes + tagBytes) return undefined;
      const nonce = bytes.subarray(0, nonceBytes);
      const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      const text = decipher.update(bytes.subarray(nonceBytes, -tagBytes), undefined, "utf8");
      try {
        return text + decipher.final("utf8");
      } catch {
        return undefined;
      }
    },
  };
}
