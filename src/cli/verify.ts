/** `spillway verify`: is an export whole, unchanged, and by whom it should be? */
import type { VerifyLevel, VerifyReport } from "../readback/verify.ts";
import { formatBytes } from "../stages/atoms.ts";
import { PipelineError } from "../errors.ts";
import { failureDocument } from "./failure.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { startProgress } from "./progress.ts";
import { hasKey, keyOptions, readingOptions, s3Note, s3Options } from "./reading-options.ts";
import { alignColumns, formatCount, formatCounted, harmless } from "./screen.ts";
import { keepHeapSmall } from "./small-heap.ts";
import type { Paint, Report, Verb } from "./verb.ts";

export const verify: Verb = {
  name: "verify",
  summary: "Prove that an export is whole and unchanged, or say what is wrong with it",
  argument: ["<url>", "folder of a run, of a pipeline or of a destination (newest complete run)"],
  options: [
    {
      flags: "--level <level>",
      description:
        "quick: manifest and listing; bytes: every page's digest; full: opens every page. " +
        "Without it: full with a key, else bytes",
      choices: ["quick", "bytes", "full"],
    },
    ...keyOptions,
    ...s3Options,
  ],
  examples: [
    "spillway verify ./exports/observations",
    "spillway verify s3://bucket/prefix/observations --level full -i key.txt --signer ed25519:…",
  ],
  notes: [s3Note],
  async run(call) {
    keepHeapSmall();
    const progress = startProgress(call);
    const interrupt = listenForInterrupt(interrupted, () => progress.info("stopping"));
    const level = (call.text("level") ?? (hasKey(call) ? "full" : "bytes")) as VerifyLevel;
    try {
      const { verifyExport } = await import("../readback/verify.ts");
      const report = await verifyExport(call.argument, {
        ...(await readingOptions(call, interrupt.signal)),
        level,
        onProgress: ({ pages, totalPages, bytes }) =>
          progress.show(({ bold }) => [
            bold("verifying"),
            `${Math.floor((100 * pages) / totalPages)} %`,
            `${formatCount(pages)} of ${formatCount(totalPages)} pages`,
            formatBytes(bytes),
          ]),
      });
      return report.ok ? accept(report) : refuse(report);
    } finally {
      interrupt.dispose();
      progress.end();
    }
  },
};

const accept = (report: VerifyReport): Report => ({
  document: report,
  text: (paint) => verifiedText(report, paint),
});

const depths: Readonly<Record<VerifyLevel, string>> = {
  quick: "manifest signed, every object listed with its size; contents not read",
  bytes: "manifest signed, every page's SHA-256 as signed; pages not opened",
  full: "manifest signed, every page opened, in its place and counted",
};

/** What was proven, by whom it is signed, and whether that was asked for. */
function verifiedText(report: VerifyReport, { green, bold, dim, yellow }: Paint): string {
  const { pipeline, run, level, pages, records, bytes, signer, pinned } = report;
  const signed = `${signer}${pinned ? " (as demanded)" : ""}`;
  const facts = [
    ["run", run ?? ""],
    ["pages", `${formatCount(pages)}, ${formatBytes(bytes)} stored`],
    ["proven", `${level}: ${depths[level]}`],
    ["signed by", pinned ? signed : `${signed} ${yellow("not compared: give --signer")}`],
  ].map(([name = "", fact = ""]) => [dim(name), fact]);
  return [
    `${green("✔")} ${bold(pipeline ?? "")}: ${bold(formatCounted(records, "record"))}, ${level === "quick" ? "complete by its signed list" : "whole and unchanged"}`,
    ...alignColumns(facts),
  ].join("\n");
}

const shownProblems = 20;

function refuse(report: VerifyReport): Report {
  const { problems, moreProblems, complete } = report;
  const total = problems.length + moreProblems;
  const [first] = problems;
  const failure = new PipelineError(
    "integrity-failed",
    complete
      ? `the export is damaged: ${formatCounted(total, "problem")}, the first: ${first?.object} ${first?.problem}`
      : (first?.problem ?? ""),
  );
  return {
    document: { ...report, ...failureDocument(failure) },
    text: ({ red, dim }) => {
      if (!complete) return "";
      const lines = alignColumns(
        problems
          .slice(0, shownProblems)
          .map(({ object, problem }) => [red(harmless(object)), harmless(problem)]),
      );
      const rest = total - Math.min(problems.length, shownProblems);
      return [...lines, ...(rest > 0 ? [dim(`  … and ${rest} more; see --json`)] : [])].join("\n");
    },
    failure,
  };
}
