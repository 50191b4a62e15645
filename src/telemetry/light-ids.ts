/**
 * Random ids of traces and spans, cut from a text of many. The SDK's own writes each number by number, which takes a compiler
 * to be fast; an export runs without one.
 */
import { randomBytes } from "node:crypto";
import type { IdGenerator } from "@opentelemetry/sdk-trace";

const poolBytes = 4096;
const traceDigits = 32;
const spanDigits = 16;

export function createIds(): IdGenerator {
  let digits = "";
  let next = 0;
  const take = (count: number): string => {
    if (next + count > digits.length) {
      digits = randomBytes(poolBytes).toString("hex");
      next = 0;
    }
    next += count;
    return digits.slice(next - count, next);
  };
  return { generateTraceId: () => take(traceDigits), generateSpanId: () => take(spanDigits) };
}
