/** What a look before the run finds: a line for people, an object for machines. It holds no secret and no row value. */
import { PipelineError, type ErrorCode } from "../errors.ts";

export interface Finding {
  /** `warn`: a run works, but a promise is weaker or slower to keep; `fail`: it would end with `code`. */
  readonly level: "ok" | "warn" | "fail";
  /** What was looked at, in a word or two. */
  readonly check: string;
  readonly found: string;
  /** What follows, and what to do; absent when all is well. */
  readonly advice?: string;
  /** Only of `fail`. */
  readonly code?: ErrorCode;
}

export const good = (check: string, found: string): Finding => ({ level: "ok", check, found });

export const doubt = (check: string, found: string, advice: string): Finding => ({
  level: "warn",
  check,
  found,
  advice,
});

/** What a run would fail with. Our messages say what happened; what to do about it. */
export function fault(check: string, error: PipelineError): Finding {
  const [found = "", ...advice] = error.message.split("; ");
  return {
    level: "fail",
    check,
    found,
    ...(advice.length > 0 && { advice: advice.join("; ") }),
    code: error.code,
  };
}
