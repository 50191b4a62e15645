/**
 * The manifest, format `spillway/1`: types and the one way to spell it. Specified in docs/format.md.
 *
 * One field a line and one page a line, so that it can be written and read as a stream, and so that a manifest has
 * exactly one spelling: the reader (`read-manifest.ts`) writes what it understood and compares bytes.
 */
import { dialectOf, type CsvDialect } from "../stages/formats/csv-dialect.ts";
import { freeBuffer } from "../stages/free-buffer.ts";
import type { Consistency, Span } from "../stages/nouns.ts";
import { codecSuffix } from "../stages/pages/seal-pages.ts";
import type { Codec } from "../workers/frame.ts";

export const manifestName = "manifest.json";
/** In the spool alone, until it is signed. */
export const draftName = `${manifestName}.draft`;
export const signatureName = "manifest.json.sig";
export const sumsName = "SHA256SUMS";
export const manifestFormat = "spillway/1";

export { maxPages } from "../stages/pages/checkpoint.ts";

/** How page bytes are made of records. */
export interface Layers {
  /** File name extension of the records' format: `ndjson`, `csv`, `json`. */
  readonly extension: string;
  readonly compress: Codec;
  readonly encrypt: "age" | "none";
  /** Of `csv`, where it is not COPY's own. */
  readonly dialect?: CsvDialect;
}

/** What is known before the first page. */
export interface ManifestHead {
  readonly run: string;
  readonly pipeline: string;
  /** Counts the exports of this pipeline at this destination, from 1. */
  readonly generation: number;
  /** SHA-256 (hex) of the manifest of the generation before; null for the first one known. */
  readonly previous: string | null;
  readonly tool: { readonly name: string; readonly version: string };
  /** UTC, `2026-01-02T03:04:05.678Z`. */
  readonly started: string;
  readonly finished: string;
  /** SHA-256 (hex) of the stages as written, references unresolved. */
  readonly configDigest: string;
  /** SHA-256 (hex) of the query text or of what names the input. */
  readonly queryDigest: string;
  readonly consistency: Consistency;
  readonly schema: {
    readonly columns: readonly { readonly name: string; readonly type: string }[];
  };
  readonly layers: Layers;
  /** Ed25519 public key, `ed25519:<base64 of 32 bytes>`. */
  readonly signer: string;
}

/** One page object. */
export interface PageEntry {
  readonly name: string;
  /** Records that end in it. */
  readonly records: number;
  /** Bytes of the object as stored. */
  readonly bytes: number;
  /** SHA-256 (hex) of the object as stored. */
  readonly sha256: string;
  /** Absent: whole records only. */
  readonly span?: Exclude<Span, "whole">;
}

export interface Totals {
  readonly pages: number;
  readonly records: number;
  /** Bytes as stored. */
  readonly bytes: number;
  /** Bytes of records. */
  readonly plainBytes: number;
}

/** What is known after the last page. */
export interface ManifestTail {
  readonly totals: Totals;
  /** Rows a policy turned away, by reason. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Run id of the attempt this run went on with; null for a fresh one. */
  readonly resumedFrom: string | null;
}

/** Everything after the page number in a page's name: `ndjson.zst.age`. */
export function pageExtension({ extension, compress, encrypt }: Layers): string {
  return `${extension}${codecSuffix[compress]}${encrypt === "age" ? ".age" : ""}`;
}

const spellLayers = ({ extension, compress, encrypt, dialect }: Layers) => ({
  extension,
  compress,
  encrypt,
  // In the one order of its keys.
  ...(dialect && { dialect: dialectOf(dialect) }),
});

/** The lines up to the pages, each with its newline. */
export function headText(head: ManifestHead): string {
  const { tool, consistency, layers } = head;
  const lines: [string, unknown][] = [
    ["format", manifestFormat],
    ["run", head.run],
    ["pipeline", head.pipeline],
    ["generation", head.generation],
    ["previous", head.previous],
    ["tool", { name: tool.name, version: tool.version }],
    ["started", head.started],
    ["finished", head.finished],
    ["configDigest", head.configDigest],
    ["queryDigest", head.queryDigest],
    ["consistency", { class: consistency.class, proof: consistency.proof }],
    ["schema", { columns: head.schema.columns.map(({ name, type }) => ({ name, type })) }],
    ["layers", spellLayers(layers)],
    ["signer", head.signer],
  ];
  return `{${lines.map(([key, value]) => `"${key}":${JSON.stringify(value)},\n`).join("")}"pages":[\n`;
}

/** One page as it stands in its line, without the comma and newline. */
export function entryText({ name, records, bytes, sha256, span }: PageEntry): string {
  return JSON.stringify({ name, records, bytes, sha256, ...(span && { span }) });
}

/** The lines after the pages. */
export function tailText({ totals, rejected, resumedFrom }: ManifestTail): string {
  const { pages, records, bytes, plainBytes } = totals;
  const fields = [
    `"totals":${JSON.stringify({ pages, records, bytes, plainBytes })}`,
    `"rejected":${JSON.stringify(rejected)}`,
    `"resumedFrom":${JSON.stringify(resumedFrom)}`,
  ];
  return `\n],\n${fields.join(",\n")}}\n`;
}

/**
 * Writes a manifest piece by piece; `tail` is asked for after the last page. Totals of pages, records and stored bytes are
 * counted here.
 */
export const writeManifest = (
  head: ManifestHead,
  pages: AsyncIterable<PageEntry> | Iterable<PageEntry>,
  tail: () => Omit<ManifestTail, "totals"> & { readonly plainBytes: number },
): AsyncGenerator<Uint8Array> => inPieces(manifestTexts(head, pages, tail));

async function* manifestTexts(
  ...[head, pages, tail]: Parameters<typeof writeManifest>
): AsyncGenerator<string> {
  yield headText(head);
  const totals = { pages: 0, records: 0, bytes: 0 };
  for await (const entry of pages) {
    yield (totals.pages === 0 ? "" : ",\n") + entryText(entry);
    totals.pages += 1;
    totals.records += entry.records;
    totals.bytes += entry.bytes;
  }
  const { plainBytes, rejected, resumedFrom } = tail();
  yield tailText({ totals: { ...totals, plainBytes }, rejected, resumedFrom });
}

/** One line of `SHA256SUMS`, as `sha256sum -c` reads it. */
const sumsLine = ({ sha256, name }: PageEntry) => `${sha256}  ${name}\n`;

/** Writes `SHA256SUMS` piece by piece. */
export const writeSums = (
  pages: AsyncIterable<PageEntry> | Iterable<PageEntry>,
): AsyncGenerator<Uint8Array> => inPieces(sumsTexts(pages));

async function* sumsTexts(
  pages: AsyncIterable<PageEntry> | Iterable<PageEntry>,
): AsyncGenerator<string> {
  for await (const entry of pages) yield sumsLine(entry);
}

/** A piece holds some hundred pages, and is large enough to have memory of its own. */
const pieceChars = 64 * 1024;

async function* inPieces(texts: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let gathered = "";
  for await (const text of texts) {
    gathered += text;
    if (gathered.length < pieceChars) continue;
    yield* onePiece(gathered);
    gathered = "";
  }
  yield* onePiece(gathered);
}

/** It lasts until the next is asked for. */
function* onePiece(text: string): Generator<Uint8Array> {
  const piece = Buffer.from(text);
  yield piece;
  freeBuffer(piece);
}
