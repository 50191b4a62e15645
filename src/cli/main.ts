/** The command line: finds the verb, prints what it gives back or why it failed, ends with its exit code. */
import { systemCode, type PipelineError } from "../errors.ts";
import { asFailure, failureDocument, failureText } from "./failure.ts";
import { endNow } from "./interrupt.ts";
import { parseArguments } from "./program.ts";
import { paintFor } from "./screen.ts";
import type { Call, Report, Verb } from "./verb.ts";

/** Each verb is loaded when it is called, so that `run` carries nothing of the others in its memory. */
const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  run: async () => (await import("./run.ts")).run,
  serve: async () => (await import("./serve.ts")).serve,
  plan: async () => (await import("./plan.ts")).plan,
  scale: async () => (await import("./scale.ts")).scale,
  check: async () => (await import("./check.ts")).check,
  count: async () => (await import("./count.ts")).count,
  doctor: async () => (await import("./doctor.ts")).doctor,
  schema: async () => (await import("./schema.ts")).schema,
  verify: async () => (await import("./verify.ts")).verify,
  restore: async () => (await import("./restore.ts")).restore,
  cat: async () => (await import("./cat.ts")).cat,
  ls: async () => (await import("./ls.ts")).ls,
  keygen: async () => (await import("./keygen.ts")).keygen,
  init: async () => (await import("./init.ts")).init,
  demo: async () => (await import("./demo.ts")).demo,
};

/** The one verb that is called, or all of them for help and suggestions. */
async function loadVerbs(args: readonly string[]): Promise<Verb[]> {
  const named = args.find((arg) => !arg.startsWith("-")) ?? "";
  const load = Object.hasOwn(verbs, named) ? [verbs[named]!] : Object.values(verbs);
  return Promise.all(load.map((verb) => verb()));
}

async function main(args: readonly string[]): Promise<number> {
  const parsed = await parseArguments(args, await loadVerbs(args));
  if (typeof parsed === "number") return parsed;
  const report = await parsed.verb.run(parsed.call);
  const exitCode = report.failure ? tell(report.failure) : (report.exitCode ?? 0);
  process.exitCode = exitCode;
  await printReport(report, parsed.call);
  if (report.leavesWork) endProcess = endNow;
  return exitCode;
}

/** Says what failed: a sentence on standard error, the document on standard output when it is for one. */
async function fail(error: unknown): Promise<number> {
  const failure = asFailure(error);
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
let endProcess: (code: number) => never = process.exit;

// Whoever reads our output may stop reading: that ends the command, and is no failure of it.
process.stdout.on("error", (error) => {
  process.exit(systemCode(error) === "EPIPE" ? (process.exitCode ?? 0) : 1);
});
// An export goes on when nobody looks at its progress any more.
process.stderr.on("error", () => {});
// A report on a crash would show the environment, where secrets are.
Object.assign(process.report, { excludeEnv: true });
// Node's own way to tell of it would print messages that may quote rows. The first one is told; others follow from it.
process.once("uncaughtException", (error) => {
  process.on("uncaughtException", () => {});
  void fail(error).then((code) => process.exit(code));
});

const code = await main(args).catch(fail);
// What was written last may still be on its way to a pipe.
await new Promise((flushed) => process.stdout.write("", flushed));
endProcess(code);
