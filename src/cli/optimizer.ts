/**
 * V8's optimizing compiler: 9 MB of a process. An export starts without it (bin/spillway.js) and needs none where
 * WebAssembly writes the records; where JavaScript works on every row, it is called back.
 */
import { setFlagsFromString } from "node:v8";
import type { PlanReport } from "../pipeline/plan-types.ts";

export function tuneCompiler({ stages }: PlanReport): void {
  if (!stages.some(({ from }) => isCompiled(from))) setFlagsFromString("--opt");
}

const isCompiled = (from: readonly string[]): boolean =>
  from[0] === "postgres" && from.includes("serialize");
