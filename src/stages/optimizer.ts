/** V8's optimizing compilers, without which an export starts: one is called back where JavaScript works on every row. */
import { setFlagsFromString } from "node:v8";

/** TurboFan: the fastest code. For one large function it may take 10 MB at once, which malloc then keeps. */
export const callOptimizer = (): void => setFlagsFromString("--opt");

/** Maglev: quick to compile, and little memory; as fast for JSON, a fifth and more slower for CSV (bench/RESULTS.md). */
export const callSmallOptimizer = (): void => setFlagsFromString("--maglev");
