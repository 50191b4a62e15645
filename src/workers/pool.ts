/** Worker threads for work on bytes: the only file that knows piscina. */
import type { SealedResult, SealTask } from "./seal.ts";

export interface Pool {
  readonly threads: number;
  /** Tasks handed to workers and not yet answered. */
  readonly inFlight: number;
  /** Compresses, identifies, encrypts and checks one page in a worker. */
  seal(task: SealTask, signal: AbortSignal): Promise<SealedResult>;
  close(): Promise<void>;
}
