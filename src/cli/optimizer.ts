/**
 * V8's optimizing compiler: 9 MB of a process. An export starts without it (bin/spillway.js) and needs none where
 * WebAssembly writes the records; where JavaScript works on every row, it is called back.
 */
import type { PlanReport } from "../pipeline/plan-types.ts";
import { callOptimizer } from "../stages/optimizer.ts";

export function tuneCompiler({ stages }: PlanReport): void {
  if (!stages.some(({ from }) => isCompiled(from))) callOptimizer();
}

const isCompiled = (from: readonly string[]): boolean =>
  from[0] === "postgres" && from.includes("serialize");
