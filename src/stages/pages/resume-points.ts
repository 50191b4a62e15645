/**
 * Resume points as they lie in checkpoints: sealed, since a row's key can be a person's number.
 *
 * The key that opens them is made of the password with which the source logs in, and of the run's own random key. The
 * password lies in no file of ours, and whoever has it can read the table itself.
 */
import type { ResumePoint } from "../nouns.ts";
import { createTextSealer } from "./sealed-text.ts";

export interface PointSealer {
  seal(point: ResumePoint): string;
  /** Undefined where it was sealed by another password, or of another run. */
  open(sealed: string): ResumePoint | undefined;
}

/** @param runKey the run's own key, which no two runs share */
export async function createPointSealer(
  password: string,
  runKey: Uint8Array,
): Promise<PointSealer> {
  const salt = Buffer.concat([Buffer.from("resume points "), runKey]);
  const sealer = await createTextSealer(password, salt);
  return {
    seal: (point) => sealer.seal(JSON.stringify(point)),
    open(sealed) {
      const text = sealer.open(sealed);
      return text === undefined ? undefined : (JSON.parse(text) as ResumePoint);
    },
  };
}
