/** One way in for bytes from outside, and what is tried on it. */
import type { Chance, Seeds } from "./chance.ts";

export interface FuzzClass {
  readonly seeds: Seeds;
  /** A case that is no changed seed; none where it shall be one. */
  make?(chance: Chance): Buffer | undefined;
  /** @throws PipelineError for bytes that are refused; anything else for what must not be */
  run(bytes: Buffer, chance: Chance): unknown;
  close?(): Promise<void>;
}
