/** What an area is looked at with. */
import type { Pipeline } from "../define.ts";
import type { Plan } from "../plan-types.ts";

export interface ExamineOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

export interface Examined extends ExamineOptions {
  readonly pipeline: Pipeline;
  readonly plan: Plan;
}
