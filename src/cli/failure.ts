/** How an error is told: one sentence for people, one document for machines, frames without messages for `--debug`. */
import {
  framesOf,
  kindOf,
  PipelineError,
  systemCode,
  type ErrorCode,
  type Remedy,
} from "../errors.ts";
import { harmless } from "./screen.ts";
import type { Paint } from "./verb.ts";

export interface FailureDocument {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly exitCode: number;
    readonly remedy: Remedy;
    readonly stage?: string;
    readonly details?: Readonly<Record<string, string | number | boolean>>;
  };
}

/** Every failure as a PipelineError; what is none is a defect, and its message, which may hold row values, is dropped. */
export function asFailure(error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  const code = systemCode(error);
  return new PipelineError(
    "internal",
    `an unexpected ${kindOf(error)}${code ? ` (${code})` : ""} ended the command; run with --debug for its stack`,
    { cause: error },
  );
}

export function failureDocument(error: PipelineError): FailureDocument {
  const { code, message, exitCode, remedy, stage, details } = error;
  return {
    error: {
      code,
      message,
      exitCode,
      remedy,
      ...(stage !== undefined && { stage }),
      ...(Object.keys(details).length > 0 && { details }),
    },
  };
}

/** For standard error: what begins with a place in a file stands as it is, so that editors can jump there. */
export function failureText(error: PipelineError, paint: Paint, debug: boolean): string {
  const message = harmless(error.message);
  const hasPlace = /^[^\n]+?:\d+:\d+: /.test(message);
  const told = hasPlace ? message : `${paint.red("spillway:")} ${message}`;
  return debug ? `${told}\n${paint.dim(stacksOf(error))}` : told;
}

/** Frames of the error and its causes. Messages of errors that are not ours may quote rows, so they are left out. */
function stacksOf(error: unknown): string {
  const lines: string[] = [];
  for (let at = error; at instanceof Error && lines.length < 200; at = at.cause) {
    const code = systemCode(at);
    lines.push(`${lines.length > 0 ? "caused by " : ""}${kindOf(at)}${code ? ` (${code})` : ""}`);
    lines.push(...framesOf(at));
  }
  return lines.join("\n");
}
