/** What the format has no room for is refused as soon as it shows, not when all pages are made and the manifest is written. */
import * as v from "valibot";
import { PipelineError, inStage, type ErrorCode } from "../../errors.ts";
import { formatBytes } from "../atoms.ts";
import type { Consistency, RecordBatch, SourceEnd } from "../nouns.ts";
import { maxPages } from "./checkpoint.ts";

/** The last page's checkpoint and the lines of a manifest before its pages hold 4 MiB each, and more than the columns. */
const columnBytesAtMost = 3 * 2 ** 20;

export const wholeNumber = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
// A safe folder name: it becomes part of paths.
export const runIdText = v.pipe(v.string(), v.regex(/^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/));
export const digestText = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

// Begins with a letter: JavaScript would move keys that look like numbers to the front.
const factName = /^[A-Za-z][\w .:/-]{0,63}$/;
// From 1e21 on JSON has exponents.
const factNumber = v.pipe(v.number(), v.integer(), v.ltValue(1e21), v.gtValue(-1e21));
const fact = v.union([v.string(), factNumber, v.boolean(), v.null()]);

/** Values by name. Not valibot's `record`, which knows no `constructor`. */
export const named = <Value>(value: v.GenericSchema<Value>) =>
  v.custom<Readonly<Record<string, Value>>>(
    (given) =>
      typeof given === "object" &&
      given !== null &&
      !Array.isArray(given) &&
      Object.entries(given).every(([name, each]) => factName.test(name) && v.is(value, each)),
  );

/** What a manifest says of how consistent the rows are. */
export const consistencyText: v.GenericSchema<Consistency> = v.strictObject({
  class: v.picklist(["snapshot", "epochs", "unchanged-file", "stream"]),
  proof: named(fact),
});

export const extensionText = v.pipe(v.string(), v.regex(/^[a-z0-9]{1,16}$/));

const described = v.object({
  extension: extensionText,
  columns: v.array(v.object({ name: v.string(), type: v.string() })),
});

const sourceEnd = v.object({
  rows: wholeNumber,
  consistency: consistencyText,
  queryDigest: digestText,
});

/** @throws PipelineError `config-invalid` for a page whose number the format has no name for */
export function refuseBeyondFormat(page: number): void {
  if (page < maxPages) return;
  throw new PipelineError(
    "config-invalid",
    `chunk: the export needs more than the ${maxPages} pages that its format has numbers for; raise \`chunk.size\` (or \`chunk.records\`) and begin again with \`spillway run --restart\``,
  );
}

/** @throws PipelineError `config-invalid` for records of which no manifest could say what they are */
export function refuseForeignRecords({ columns, extension }: RecordBatch): void {
  const { issues } = v.safeParse(described, { columns, extension }, { abortEarly: true });
  if (issues) throw refusal("config-invalid", "chunk: the", issues[0], "of the records is");
  const bytes = Buffer.byteLength(JSON.stringify(columns));
  if (bytes <= columnBytesAtMost) return;
  throw new PipelineError(
    "config-invalid",
    `chunk: the names and types of the ${columns.length} columns take ${formatBytes(bytes)}, and a manifest has room for ${formatBytes(columnBytesAtMost)} of them; expected fewer columns, or shorter names and types`,
  );
}

/** @throws PipelineError `source-bad-data` for an end that no manifest can tell of, as of a source of one's own */
export function refuseForeignEnd(end: SourceEnd, source: string): void {
  const { issues } = v.safeParse(sourceEnd, end, { abortEarly: true });
  if (!issues) return;
  const told = refusal("source-bad-data", `${source}: the`, issues[0], "it ends with is");
  throw inStage(told, source);
}

const refusal = (code: ErrorCode, who: string, issue: v.BaseIssue<unknown>, whose: string) =>
  new PipelineError(
    code,
    `${who} \`${v.getDotPath(issue) ?? "end"}\` ${whose} none that a manifest can hold; expected what docs/format.md says of it`,
  );
