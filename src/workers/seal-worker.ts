/** The adapter between the pool and `sealPage`; errors travel as plain data, because threads lose classes. */
import { move, transferableSymbol, valueSymbol } from "piscina";
import { PipelineError, type ErrorCode } from "../errors.ts";
import { sealPage, type SealTask, type SealedResult } from "./seal.ts";

export interface Failure {
  readonly failed: { readonly code: ErrorCode; readonly message: string };
}

// A report on a crash asks each thread by itself whether it may show the environment, where secrets are.
Object.assign(process.report, { excludeEnv: true });

/**
 * A page leaves some 4 KiB behind in the thread's heap, and V8 collects that when it has grown by several MiB: a run of
 * gigabytes would have them at its peak. Where the collector was exposed, as it is for an export, it comes earlier.
 */
const pagesToCollection = 128;
let pages = 0;

function collectNowAndThen(): void {
  pages += 1;
  if (pages % pagesToCollection === 0) (globalThis as { gc?: () => void }).gc?.();
}

/** Called by name in a worker thread. */
export async function seal(task: SealTask): Promise<object> {
  collectNowAndThen();
  try {
    const result: SealedResult = await sealPage(task);
    return move({ [transferableSymbol]: result.bytes.buffer, [valueSymbol]: result });
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return { failed: { code: error.code, message: error.message } } satisfies Failure;
  }
}
