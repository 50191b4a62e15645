/**
 * V8's optimizing compilers: up to 9 MB of a process, and more for a moment. An export starts without them
 * (bin/spillway.js) and needs none where WebAssembly writes the records; where JavaScript works on every row, one is called
 * back: the small one where the parser of JSON is the work, and has functions so large that the other's memory would show.
 */
import type { PlanReport } from "../pipeline/plan-types.ts";
import { callOptimizer, callSmallOptimizer } from "../stages/optimizer.ts";

export function tuneCompiler({ stages }: PlanReport): void {
  if (stages.some(({ from }) => isCompiled(from))) return;
  if (stages.some(({ from }) => from[0] === "json")) callSmallOptimizer();
  else callOptimizer();
}

const isCompiled = (from: readonly string[]): boolean =>
  from[0] === "postgres" && from.includes("serialize");
