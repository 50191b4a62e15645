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
 * Where the collector was exposed, as it is for an export, it comes before V8 would call it: a page leaves some 25 KiB in the
 * thread's heap, and V8 lets the young generation fill to 2 MiB, the old one grow by several more.
 */
type Collect = (kind?: {
  readonly type: "major" | "minor";
  readonly execution: "sync";
  readonly flavor?: "last-resort";
}) => void;

/** By then all code is loaded, which is what the young generation grew for: it is given back, once, and stays small. */
const pagesToShrink = 4;
const pagesToMinor = 8;
const pagesToMajor = 128;
let pages = 0;

function collectNowAndThen(): void {
  const { gc } = globalThis as { gc?: Collect };
  pages += 1;
  if (pages === pagesToShrink) gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
  else if (pages % pagesToMajor === 0) gc?.();
  else if (pages % pagesToMinor === 0) gc?.({ type: "minor", execution: "sync" });
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
