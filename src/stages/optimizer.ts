/** V8's optimizing compiler, without which an export starts: called back where JavaScript works on every row. */
import { setFlagsFromString } from "node:v8";

export const callOptimizer = (): void => setFlagsFromString("--opt");
