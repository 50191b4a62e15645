/**
 * The one error class and the closed table of what can go wrong.
 *
 * Codes are grouped by what the reader should do next; each names the exit code a `spillway` command ends with.
 * Messages never carry row values, SQL parameters, server detail texts or secrets.
 */

/** What the reader of an error should do. */
export type Remedy = "fix-config" | "try-again" | "give-room" | "get-help" | "nothing";

interface CodeEntry {
  readonly exit: number;
  readonly remedy: Remedy;
}

const table = {
  "config-invalid": { exit: 2, remedy: "fix-config" },
  "config-changed": { exit: 2, remedy: "fix-config" },
  "budget-too-small": { exit: 2, remedy: "give-room" },
  "input-missing": { exit: 2, remedy: "fix-config" },
  "source-unreachable": { exit: 4, remedy: "try-again" },
  "source-refused": { exit: 4, remedy: "fix-config" },
  "source-failed": { exit: 4, remedy: "try-again" },
  "source-changed": { exit: 4, remedy: "get-help" },
  "source-bad-data": { exit: 4, remedy: "fix-config" },
  "transform-failed": { exit: 4, remedy: "fix-config" },
  "destination-unreachable": { exit: 5, remedy: "try-again" },
  "destination-refused": { exit: 5, remedy: "fix-config" },
  "destination-failed": { exit: 5, remedy: "try-again" },
  "foreign-object": { exit: 6, remedy: "get-help" },
  "integrity-failed": { exit: 6, remedy: "get-help" },
  "key-wrong": { exit: 6, remedy: "fix-config" },
  "not-found": { exit: 5, remedy: "fix-config" },
  "spool-failed": { exit: 75, remedy: "try-again" },
  "spool-full": { exit: 75, remedy: "give-room" },
  "disk-full": { exit: 75, remedy: "give-room" },
  stopped: { exit: 75, remedy: "try-again" },
  "already-running": { exit: 7, remedy: "try-again" },
  interrupted: { exit: 130, remedy: "nothing" },
  internal: { exit: 1, remedy: "get-help" },
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof table;

/** Every code with its exit code and remedy; the reference pages are generated from it. */
export const errorCodes: Readonly<Record<ErrorCode, CodeEntry>> = table;

export interface ErrorInit {
  /** The stage that failed; filled in by the runner when a stage does not say. */
  readonly stage?: string;
  /** Whether the same call may succeed later without any change. */
  readonly retriable?: boolean;
  /** Plain facts for machines: never secrets, never row values. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: unknown;
}

/** The only error that leaves spillway. `message` says what happened and what was expected. */
export class PipelineError extends Error {
  override readonly name = "PipelineError";
  readonly code: ErrorCode;
  readonly stage: string | undefined;
  readonly retriable: boolean;
  readonly details: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, init: ErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = code;
    this.stage = init.stage;
    this.retriable = init.retriable ?? table[code].remedy === "try-again";
    this.details = init.details ?? {};
  }

  /** The exit code a command ends with when this error stops it. */
  get exitCode(): number {
    return table[this.code].exit;
  }

  get remedy(): Remedy {
    return table[this.code].remedy;
  }
}

/** The same error, of `stage` where it does not say of which one it is. */
export function inStage(error: PipelineError, stage: string | undefined): PipelineError {
  if (stage !== undefined && error.stage === undefined) Reflect.set(error, "stage", stage);
  return error;
}

/** A broken invariant of spillway itself; stays on in production. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new PipelineError("internal", `assertion failed: ${message}`);
}

/** True for errors thrown because a signal fired. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError");
}

/** The `code` of a Node system error, such as `ENOSPC`. Other texts called so may be data, and are not it. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && /^[A-Z][A-Z0-9_]{0,62}$/.test(code) ? code : undefined;
}

/** The class of what was thrown. Not its `name` or own `constructor`: these may be data. */
export function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { constructor } = Object.getPrototypeOf(error) as { constructor?: { name?: unknown } };
  return typeof constructor?.name === "string" && constructor.name !== ""
    ? constructor.name
    : "Error";
}

/** The frames of an error's stack, without its message, which may quote rows and look like frames. */
export function framesOf({ name, message, stack = "" }: Error): string[] {
  const told = stack.indexOf(message);
  const frames = told < 0 ? stack.replace(name, "") : stack.slice(told + message.length);
  return frames.split("\n").filter((line) => /^\s+at /.test(line));
}
