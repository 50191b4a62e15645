/** The adapter between the pool and `sealPage`; errors travel as plain data, because threads lose classes. */
import { move, transferableSymbol, valueSymbol } from "piscina";
import { PipelineError, type ErrorCode } from "../errors.ts";
import { sealPage, type SealTask, type SealedResult } from "./seal.ts";

export interface Failure {
  readonly failed: { readonly code: ErrorCode; readonly message: string };
}

// A report on a crash asks each thread by itself whether it may show the environment, where secrets are.
Object.assign(process.report, { excludeEnv: true });

/** Called by name in a worker thread. */
export async function seal(task: SealTask): Promise<object> {
  try {
    const result: SealedResult = await sealPage(task);
    return move({ [transferableSymbol]: result.bytes.buffer, [valueSymbol]: result });
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return { failed: { code: error.code, message: error.message } } satisfies Failure;
  }
}
