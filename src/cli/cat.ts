/** `spillway cat`: records of an export to standard output, all of them or those of one page. */
import { once } from "node:events";
import type { ReadOptions } from "../readback/find-run.ts";
import { PipelineError } from "../errors.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { keyOptions, readingOptions, s3Note, s3Options } from "./reading-options.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { alreadyWritten, type Verb } from "./verb.ts";

export const cat: Verb = {
  name: "cat",
  summary: "Print the records of an export, or of one of its pages",
  argument: ["<url>", "folder of a run, of a pipeline or of a destination (newest complete run)"],
  options: [
    { flags: "--page <number>", description: "only this page; the first is 0", counts: true },
    ...keyOptions,
    ...s3Options,
  ],
  examples: [
    "spillway cat ./exports/observations -i key.txt | head",
    "spillway cat ./exports/observations -i key.txt --page 0",
  ],
  notes: ["Records are printed as they were stored; with --json, as one JSON array.", s3Note],
  async run(call) {
    keepHeapSmall();
    const interrupt = listenForInterrupt(interrupted, () => {});
    const page = call.count("page");
    if (call.json && page !== undefined)
      throw new PipelineError("config-invalid", "cat: expected either --page or --json");
    try {
      const options = await readingOptions(call, interrupt.signal);
      if (call.json) await printArray(call.argument, options);
      else await printPages(call.argument, options, page);
      return alreadyWritten;
    } finally {
      interrupt.dispose();
    }
  },
};

async function printPages(url: string, options: ReadOptions, only: number | undefined) {
  const { readPages } = await import("../readback/read-pages.ts");
  let number = 0;
  for await (const { content } of readPages(url, options)) {
    if (only === undefined || only === number) await write(content);
    if (only === number) return;
    number += 1;
  }
  if (only === undefined) return;
  throw new PipelineError(
    "not-found",
    `there is no page ${only}; the export has pages 0 to ${number - 1}`,
  );
}

/** A failure after the first row leaves the array open, so that nobody takes a part for the whole. */
async function printArray(url: string, options: ReadOptions): Promise<void> {
  const { readExport } = await import("../readback/read-export.ts");
  let before = "[\n";
  for await (const row of readExport(url, options)) {
    await write(before + JSON.stringify(row));
    before = ",\n";
  }
  await write(before === "[\n" ? "[]\n" : "\n]\n");
}

async function write(content: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(content)) await once(process.stdout, "drain");
}
