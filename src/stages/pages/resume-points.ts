/**
 * Resume points as they lie in checkpoints: sealed, since a row's key can be a person's number.
 *
 * The key that opens them is made of the password with which the source logs in, and of the run's own random key. The
 * password lies in no file of ours, and whoever has it can read the table itself. A digest would not do: numbers are
 * guessed and compared in no time.
 */
import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import type { ResumePoint } from "../nouns.ts";

export interface PointSealer {
  seal(point: ResumePoint): string;
  /** Undefined where it was sealed by another password, or of another run. */
  open(sealed: string): ResumePoint | undefined;
}

const algorithm = "aes-256-gcm";
const rounds = 300_000;
const nonceBytes = 12;
const tagBytes = 16;

/** @param runKey the run's own key, which no two runs share */
export async function createPointSealer(
  password: string,
  runKey: Uint8Array,
): Promise<PointSealer> {
  const salt = Buffer.concat([Buffer.from("resume points "), runKey]);
  const key = await promisify(pbkdf2)(password, salt, rounds, 32, "sha256");
  return {
    seal(point) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
      const parts = [nonce, cipher.update(JSON.stringify(point)), cipher.final()];
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
        return JSON.parse(text + decipher.final("utf8")) as ResumePoint;
      } catch {
        return undefined;
      }
    },
  };
}
