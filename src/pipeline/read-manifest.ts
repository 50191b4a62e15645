/**
 * Reads a manifest strictly: one spelling, every field checked, pages parsed one at a time as they are asked for.
 *
 * What was understood is written again and compared with the bytes read, so spaces, other orders, further keys,
 * repeated keys and other number formats are all refused by the same comparison.
 */
import * as v from "valibot";
import {
  csvWriterFields,
  refuseClashes,
  toldDialect,
  type CsvDialect,
} from "../stages/formats/csv-dialect.ts";
import { pageName } from "../stages/pages/checkpoint.ts";
import {
  consistencyText,
  digestText,
  extensionText,
  named,
  runIdText,
  wholeNumber,
} from "../stages/pages/format-limits.ts";
import { PipelineError } from "../errors.ts";
import type { Reread } from "../stages/durable-file.ts";
import { findParts, linesOf, notCanonical, pagesClose, type TextParts } from "./manifest-text.ts";
import {
  entryText,
  headText,
  manifestFormat,
  maxPages,
  pageExtension,
  tailText,
  type ManifestHead,
  type ManifestTail,
  type PageEntry,
} from "./manifest.ts";

/** A manifest whose head and tail are checked; its pages are checked while they are walked. */
export interface Manifest {
  readonly head: ManifestHead;
  readonly tail: ManifestTail;
  /**
   * The pages in order; may be walked more than once.
   * @throws PipelineError `integrity-failed` at the first entry that is wrong, or at the end when totals differ.
   */
  pages(): AsyncGenerator<PageEntry>;
}

const time = v.pipe(v.string(), v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));
const pipelineName = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,62}$/));

const headSchema = v.strictObject({
  format: v.literal(manifestFormat),
  run: runIdText,
  pipeline: pipelineName,
  generation: v.pipe(wholeNumber, v.minValue(1)),
  previous: v.nullable(digestText),
  tool: v.strictObject({ name: v.string(), version: v.string() }),
  started: time,
  finished: time,
  configDigest: digestText,
  queryDigest: digestText,
  consistency: consistencyText,
  schema: v.strictObject({
    columns: v.array(v.strictObject({ name: v.string(), type: v.string() })),
  }),
  layers: v.pipe(
    v.strictObject({
      extension: extensionText,
      compress: v.picklist(["zstd", "gzip", "none"]),
      encrypt: v.picklist(["age", "none"]),
      dialect: v.exactOptional(
        v.pipe(v.strictObject(csvWriterFields), refuseClashes<CsvDialect>()),
      ),
    }),
    // One spelling: what is as COPY has it goes without saying.
    v.check(
      ({ extension, dialect }) => !dialect || (extension === "csv" && !!toldDialect(dialect)),
    ),
  ),
  signer: v.pipe(v.string(), v.regex(/^ed25519:[A-Za-z0-9+/]{43}=$/)),
  pages: v.tuple([]),
});

const tailSchema = v.strictObject({
  totals: v.strictObject({
    pages: v.pipe(wholeNumber, v.minValue(1), v.maxValue(maxPages)),
    records: wholeNumber,
    bytes: wholeNumber,
    plainBytes: wholeNumber,
  }),
  rejected: named(wholeNumber),
  resumedFrom: v.nullable(runIdText),
});

const entrySchema = v.strictObject({
  name: v.string(),
  records: wholeNumber,
  bytes: wholeNumber,
  sha256: digestText,
  span: v.exactOptional(v.picklist(["first", "middle", "last"])),
});

/**
 * Reads a manifest: once now, for its head and its tail, and once more for each walk of its pages. Never held whole.
 * @throws PipelineError `integrity-failed` for anything but a manifest in its one spelling, `config-invalid` for a
 * format version this reader does not know, and what `read` throws.
 */
export async function readManifest(read: Reread): Promise<Manifest> {
  const parts = await findParts(read);
  const head = readHead(parts.head);
  const tail = readTail(parts.tail);
  return { head, tail, pages: () => readPages(read, parts, head, tail) };
}

function readHead(text: string): ManifestHead {
  const { format: _format, pages: _pages, ...head } = understand(headSchema, `${text}]}`, "head");
  if (headText(head) !== text) throw notCanonical("its head");
  return head;
}

function readTail(text: string): ManifestTail {
  const tail = understand(tailSchema, `{${text.slice(pagesClose.length)}`, "totals");
  if (tailText(tail) !== text) throw notCanonical("its totals");
  return tail;
}

async function* readPages(
  read: Reread,
  parts: TextParts,
  head: ManifestHead,
  tail: ManifestTail,
): AsyncGenerator<PageEntry> {
  const extension = pageExtension(head.layers);
  const sum = { pages: 0, records: 0, bytes: 0 };
  let open = false;
  for await (const lines of linesOf(read, parts)) {
    for (const line of lines) {
      // All but the last line end in a comma.
      const isLast = !line.endsWith("\n");
      const entry = understand(entrySchema, isLast ? line : line.slice(0, -2), "pages");
      const expected = entryText(entry) + (isLast ? "" : ",\n");
      if (line !== expected || entry.name !== pageName(sum.pages, extension)) {
        throw notCanonical(`page ${sum.pages}`);
      }
      checkSpan(entry, open);
      open = entry.span === "first" || entry.span === "middle";
      sum.pages += 1;
      sum.records += entry.records;
      sum.bytes += entry.bytes;
      yield entry;
    }
  }
  const { pages, records, bytes } = tail.totals;
  if (open || sum.pages !== pages || sum.records !== records || sum.bytes !== bytes) {
    throw new PipelineError("integrity-failed", "manifest: its totals are not those of its pages");
  }
}

/** A record larger than a page is one first, any middle and one last page, and is counted where it ends. */
function checkSpan({ name, span, records }: PageEntry, open: boolean): void {
  const goesOn = span === "middle" || span === "last";
  const most = span === "last" ? 1 : span === undefined ? Number.MAX_SAFE_INTEGER : 0;
  if (goesOn === open && records <= most) return;
  throw new PipelineError(
    "integrity-failed",
    `manifest: ${name} does not go on where the page before it stopped`,
  );
}

function understand<Schema extends v.GenericSchema>(
  schema: Schema,
  text: string,
  where: string,
): v.InferOutput<Schema> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw notCanonical(`its ${where}`);
  }
  const result = v.safeParse(schema, parsed, { abortEarly: true });
  if (result.success) return result.output;
  const path = v.getDotPath(result.issues[0]) ?? where;
  throw new PipelineError(
    "integrity-failed",
    `manifest: ${path} is not what format 1 allows; it is damaged or was not written by spillway`,
  );
}
