/** The command line: finds the verb, prints what it gives back or why it failed, ends with its exit code. */
import { PipelineError, systemCode } from "../errors.ts";
import { asFailure, failureDocument, failureText } from "./failure.ts";
import { endNow } from "./interrupt.ts";
import { parseArguments } from "./program.ts";
import { paintFor } from "./screen.ts";
import type { Call, Report, Verb } from "./verb.ts";

async function main(args: readonly string[], verbs: readonly Verb[]): Promise<number> {
  // The one that is called, or all of them for help and suggestions.
  const called = verbs.filter(({ name }) => name === args.find((arg) => !arg.startsWith("-")));
  const parsed = await parseArguments(args, called.length > 0 ? called : verbs);
  if (typeof parsed === "number") return parsed;
  const report = await parsed.verb.run(parsed.call);
  isKnown = true;
  const exitCode = report.failure ? tell(report.failure) : (report.exitCode ?? 0);
  process.exitCode = exitCode;
  await printReport(report, parsed.call);
  if (report.leavesWork) endProcess = endNow;
  return exitCode;
}

/** Says what failed: a sentence on standard error, the document on standard output when it is for one. */
async function fail(error: unknown): Promise<number> {
  const failure = asFailure(error);
  isKnown = true;
  process.exitCode = tell(failure);
  if (args.includes("--json")) await printJson(failureDocument(failure));
  return failure.exitCode;
}

function tell(failure: PipelineError): number {
  const paint = paintFor(process.stderr);
  process.stderr.write(`${failureText(failure, paint, args.includes("--debug"))}\n`);
  return failure.exitCode;
}

async function printReport(report: Report, { json, quiet }: Call): Promise<void> {
  if (report.document === undefined) return;
  if (json) return printJson(report.document);
  const text = report.isData || !quiet ? report.text(paintFor(process.stdout)) : "";
  if (text !== "") await print(text);
}

const printJson = (document: unknown) => print(JSON.stringify(document, null, 2));

function print(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()));
}

const args = process.argv.slice(2);
/** Whether it is known how the command ends: what a module left behind throws after that changes nothing. */
let isKnown = false;

/** Long enough for what is being closed; what is open then was left behind, and holds nothing that counts. */
const lingerMillis = 500;

/**
 * Lets the process end by itself: `process.exit` waits for V8's compilers, which may wait for a collection of garbage that
 * only the waiting thread could make (nodejs/node#54918).
 */
function endByItself(code: number): void {
  process.exitCode = code;
  setTimeout(() => (needsExit() ? process.exit(code) : endNow(code)), lingerMillis).unref();
}

/** Whether a module listens for the end, or profiles are written then: a process that becomes another one has none. */
const needsExit = () =>
  process.listenerCount("exit") > 0 || process.execArgv.some((flag) => flag.endsWith("-prof"));

/** 0 and 3 say that all is stored, which nobody but us may: a module of the user's may call `process.exit`. */
const saysDone = new Set([0, 3]);

/** Until the work is over, whoever ends the process has not done it. What is said of that is written at once, or never. */
function guardExit(code: number): void {
  if (!saysDone.has(code)) return;
  const message =
    "the process was ended from within, before its work was done; expected modules without process.exit";
  void fail(new PipelineError("internal", message));
}

/** Whoever reads our output may stop reading: that ends the command, and is no failure of it. */
function endOutput(error: unknown): never {
  const code = systemCode(error);
  if (code !== "EPIPE")
    process.stderr.write(`spillway: standard output is cut off (${code ?? "unknown error"})\n`);
  process.off("exit", guardExit);
  return endNow(Number(process.exitCode ?? 0) || (code === "EPIPE" ? 0 : 1));
}

let endProcess: (code: number) => void = endByItself;

/** Reads the command line, does what it says with one of `verbs`, and ends the process. */
export async function runCommand(verbs: readonly Verb[]): Promise<void> {
  process.on("exit", guardExit);
  process.stdout.on("error", endOutput);
  // An export goes on when nobody looks at its progress any more.
  process.stderr.on("error", () => {});
  // A report on a crash would show the environment, where secrets are.
  Object.assign(process.report, { excludeEnv: true });
  // Node's own way to tell of it would print messages that may quote rows. The first one is told; others follow from it.
  process.on("uncaughtException", (error) => {
    if (!isKnown) void fail(error).then(endNow);
  });

  const code = await main(args, verbs).catch(fail);
  // What was written last may still be on its way to a pipe.
  await new Promise((flushed) => process.stdout.write("", flushed));
  process.off("exit", guardExit);
  endProcess(code);
}
