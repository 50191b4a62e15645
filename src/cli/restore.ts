/** `spillway restore`: an export back to files, to standard output or to a table, authenticated before it is released. */
import { basename } from "node:path";
import type { RestoreOptions, RestoreSummary } from "../readback/restore.ts";
import { formatBytes } from "../stages/atoms.ts";
import { takesRows } from "../stages/destinations/schemes.ts";
import { PipelineError } from "../errors.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { startProgress, type ProgressLine } from "./progress.ts";
import { keyOptions, readingOptions, s3Note, s3Options } from "./reading-options.ts";
import { alignColumns, formatCount, formatCounted } from "./screen.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { alreadyWritten, type Call, type Paint, type Verb } from "./verb.ts";

export const restore: Verb = {
  name: "restore",
  summary: "Write the records of an export to files, to standard output or to a table",
  argument: ["<url>", "folder of a run, of a pipeline or of a destination (newest complete run)"],
  options: [
    {
      flags: "--to <place>",
      description:
        "folder for <pipeline>.<format>; - is standard output; postgres://… or sqlite:<file> with --table a table",
    },
    {
      flags: "--by <member>",
      description:
        "a file for each value of this top-level member: <pipeline>/<value>.ndjson in the folder (NDJSON alone)",
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
    "spillway restore ./exports/clinic --to ./restored --by resourceType -i key.txt",
    "spillway restore s3://bucket/prefix/observations --to - -i key.txt | wc -l",
    "spillway restore ./exports/observations --to postgres://localhost/clinic --table observation --key id -i key.txt",
  ],
  notes: [
    "A table takes page after page, each once: stopped and called again, restore goes on where it was; a run that is there whole is refused.",
    "Files appear only when the whole export has proven complete, all or none; nothing is overwritten.",
    "A restore that is killed leaves a .….partial there, which nobody needs; the next one into that folder names it.",
    "With --by, records stay as they are and in order; those without the member, or with null, go to _missing.ndjson.",
    "Values that are no safe names for files, differ by case alone or are more than 512 are refused.",
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
    const place = placeOf(to, call);
    keepHeapSmall();
    const progress = startProgress(call);
    const interrupt = listenForInterrupt(interrupted, () => progress.info("stopping"));
    try {
      if (typeof place === "string" || "by" in place) await namePartials(to, progress);
      const { restoreExport } = await import("../readback/restore.ts");
      const summary = await restoreExport(call.argument, {
        ...(await readingOptions(call, interrupt.signal)),
        to: place,
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

/** What a restore that was killed has left is the user's to remove: it may be one that is under way. */
async function namePartials(folder: string, { info }: ProgressLine): Promise<void> {
  const { findPartials } = await import("../readback/partial-files.ts");
  for (const path of await findPartials(folder))
    info(`${path} is of a restore that was killed, or is under way; if none is, remove it`);
}

/** @throws PipelineError `config-invalid` for options that do not belong together */
function placeOf(to: string, call: Call): RestoreOptions["to"] {
  const isDatabase = takesRows(to.replace(/^postgresql:/, "postgres:"));
  const [table, key, by] = [call.text("table"), call.texts("key"), call.text("by")];
  if (isDatabase !== (table !== undefined))
    throw new PipelineError(
      "config-invalid",
      "restore: --table and --to postgres://… or sqlite:<file> belong together; expected both or neither",
    );
  if (key.length > 0 && !isDatabase)
    throw new PipelineError(
      "config-invalid",
      "restore: --key names columns of a table, and --to is none; expected --to postgres://… or sqlite:<file>",
    );
  if (by !== undefined && (by === "" || isDatabase || to === "-"))
    throw new PipelineError(
      "config-invalid",
      "restore: --by makes a file for each value of a member; expected its name, and --to <folder>",
    );
  if (table !== undefined) return { url: to, table, key };
  if (by !== undefined) return { folder: to, by };
  return to === "-" ? process.stdout : to;
}

function restoredText(summary: RestoreSummary, where: string, { green, bold, dim }: Paint): string {
  const { records, bytes, pages, pagesBefore = 0, files = [], signer, pinned } = summary;
  const before = `${formatCount(pagesBefore)} of ${formatCounted(pages, "page")}`;
  const rows = files.map((it) => [
    basename(it.file),
    formatCounted(it.records, "record"),
    formatBytes(it.bytes),
  ]);
  return [
    `${green("✔")} ${bold(formatCounted(records, "record"))}, ${formatBytes(bytes)}, in ${bold(where)}`,
    ...alignColumns(rows, { right: [1, 2] }),
    ...(pagesBefore > 0 ? [dim(`  ${before} written by an earlier call`)] : []),
    dim(`  signed by ${signer}${pinned ? " (as demanded)" : ""}`),
  ].join("\n");
}
