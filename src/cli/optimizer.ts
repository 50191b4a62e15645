/**
 * V8's optimizing compiler: 9 MB of a process. An export starts without it (bin/spillway.js) and needs none where
 * WebAssembly writes the records; where JavaScript works on every row, it is called back.
 */
import { setFlagsFromString } from "node:v8";
import { needsCompiler } from "../pipeline/ledger.ts";
import type { PlanReport } from "../pipeline/plan-types.ts";

export function tuneCompiler({ ledger }: PlanReport): void {
  if (needsCompiler(ledger)) setFlagsFromString("--opt");
}
