/** `spillway restore`: an export back to one file, or to standard output, authenticated before it is released. */
import { restoreExport, type RestoreSummary } from "../readback/restore.ts";
import { formatBytes } from "../stages/atoms.ts";
import { PipelineError } from "../errors.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { startProgress } from "./progress.ts";
import { keyOptions, readingOptions, s3Note, s3Options } from "./reading-options.ts";
import { formatCount } from "./screen.ts";
import { alreadyWritten, type Paint, type Verb } from "./verb.ts";

export const restore: Verb = {
  name: "restore",
  summary: "Write the records of an export to one file or to standard output",
  argument: ["<url>", "folder of a run, of a pipeline or of a destination (newest complete run)"],
  options: [
    { flags: "--to <folder>", description: "folder for <pipeline>.<format>; - is standard output" },
    ...keyOptions,
    ...s3Options,
  ],
  examples: [
    "spillway restore ./exports/observations --to ./restored -i key.txt",
    "spillway restore s3://bucket/prefix/observations --to - -i key.txt | wc -l",
  ],
  notes: [
    "A file appears only when the whole export has proven complete; nothing is overwritten.",
    "Objects that nobody signed are passed over; `spillway verify` names them.",
    s3Note,
  ],
  async run(call) {
    const to = call.text("to");
    if (to === undefined)
      throw new PipelineError("config-invalid", "restore: expected --to <folder> or --to -");
    if (to === "-" && call.json)
      throw new PipelineError(
        "config-invalid",
        "restore: --to - and --json both want standard output; expected one of them",
      );
    const progress = startProgress(call);
    const interrupt = listenForInterrupt(interrupted, () => progress.info("stopping"));
    try {
      const summary = await restoreExport(call.argument, {
        ...(await readingOptions(call, interrupt.signal)),
        to: to === "-" ? process.stdout : to,
        onProgress: ({ pages, totalPages, bytes }) =>
          progress.show(({ bold }) => [
            bold("restoring"),
            `${Math.floor((100 * pages) / totalPages)} %`,
            `${formatCount(pages)} of ${formatCount(totalPages)} pages`,
            `${formatBytes(bytes)} of records`,
          ]),
      });
      if (to === "-") return alreadyWritten;
      return { document: summary, text: (paint) => restoredText(summary, paint) };
    } finally {
      interrupt.dispose();
      progress.end();
    }
  },
};

function restoredText(summary: RestoreSummary, { green, bold, dim }: Paint): string {
  const { records, bytes, file, signer, pinned } = summary;
  return [
    `${green("✔")} ${bold(formatCount(records))} records, ${formatBytes(bytes)}, in ${bold(file ?? "")}`,
    dim(`  signed by ${signer}${pinned ? " (as demanded)" : ""}`),
  ].join("\n");
}
