/** `spillway restore`: an export back to one file, or to standard output, authenticated before it is released. */
import type { TableTarget } from "../readback/restore-table.ts";
import { restoreExport, type RestoreSummary } from "../readback/restore.ts";
import { formatBytes } from "../stages/atoms.ts";
import { takesRows } from "../stages/destinations/schemes.ts";
import { PipelineError } from "../errors.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { startProgress } from "./progress.ts";
import { keyOptions, readingOptions, s3Note, s3Options } from "./reading-options.ts";
import { formatCount } from "./screen.ts";
import { alreadyWritten, type Call, type Paint, type Verb } from "./verb.ts";

export const restore: Verb = {
  name: "restore",
  summary: "Write the records of an export to one file, to standard output or to a table",
  argument: ["<url>", "folder of a run, of a pipeline or of a destination (newest complete run)"],
  options: [
    {
      flags: "--to <place>",
      description:
        "folder for <pipeline>.<format>; - is standard output; postgres://… or sqlite:<file> with --table a table",
    },
    { flags: "--table <name>", description: "table that takes the records, as SQL names it" },
    {
      flags: "--key <column>",
      description: "column of its unique key, so that rows are replaced and not appended",
      repeats: true,
    },
    ...keyOptions,
    ...s3Options,
  ],
  examples: [
    "spillway restore ./exports/observations --to ./restored -i key.txt",
    "spillway restore s3://bucket/prefix/observations --to - -i key.txt | wc -l",
    "spillway restore ./exports/observations --to postgres://localhost/clinic --table observation --key id -i key.txt",
  ],
  notes: [
    "A table takes page after page, each once: stopped and called again, restore goes on where it was.",
    "A file appears only when the whole export has proven complete; nothing is overwritten.",
    "Objects that nobody signed are passed over; `spillway verify` names them.",
    s3Note,
  ],
  async run(call) {
    const to = call.text("to");
    if (to === undefined)
      throw new PipelineError(
        "config-invalid",
        "restore: expected --to <folder>, --to -, or --to postgres://… or sqlite:<file> with --table",
      );
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
        to: to === "-" ? process.stdout : placeOf(to, call),
        onProgress: ({ pages, totalPages, bytes }) =>
          progress.show(({ bold }) => [
            bold("restoring"),
            `${Math.floor((100 * pages) / totalPages)} %`,
            `${formatCount(pages)} of ${formatCount(totalPages)} pages`,
            `${formatBytes(bytes)} of records`,
          ]),
      });
      if (to === "-") return alreadyWritten;
      const where = summary.file ?? call.text("table") ?? "";
      return { document: summary, text: (paint) => restoredText(summary, where, paint) };
    } finally {
      interrupt.dispose();
      progress.end();
    }
  },
};

/** @throws PipelineError `config-invalid` where a database is named without a table, or a table without a database */
function placeOf(to: string, call: Call): string | TableTarget {
  const isDatabase = takesRows(to.replace(/^postgresql:/, "postgres:"));
  const table = call.text("table");
  if (isDatabase && table !== undefined) return { url: to, table, key: call.texts("key") };
  if (!isDatabase && table === undefined) return to;
  throw new PipelineError(
    "config-invalid",
    "restore: --table and --to postgres://… or sqlite:<file> belong together; expected both or neither",
  );
}

function restoredText(summary: RestoreSummary, where: string, { green, bold, dim }: Paint): string {
  const { records, bytes, signer, pinned } = summary;
  return [
    `${green("✔")} ${bold(formatCount(records))} records, ${formatBytes(bytes)}, in ${bold(where)}`,
    dim(`  signed by ${signer}${pinned ? " (as demanded)" : ""}`),
  ].join("\n");
}
