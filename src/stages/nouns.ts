/**
 * The nouns that travel between stages, in the order of the sentence:
 * rows become records, records fill pages, pages are framed (compressed), sealed (encrypted),
 * made durable and uploaded; a receipt comes back.
 */
import type { PageIdentity, Span } from "../workers/identity.ts";

export type { PageIdentity, Span };

/**
 * How a column's text becomes JSON: `string` is quoted; `number` is printed as it stands when it is a JSON number
 * and quoted otherwise (NaN, Infinity); `boolean` is PostgreSQL's `t`/`f`; `json` is JSON text as stored; `timestamp`
 * and `timestamptz` are PostgreSQL's ISO text turned into ISO 8601; `value` holds JavaScript values, not texts;
 * `jsonValue` likewise, but a text that is JSON stands as it is.
 */
export type JsonForm =
  "string" | "number" | "boolean" | "json" | "timestamp" | "timestamptz" | "value" | "jsonValue";

/** A column as its source describes it. Names may repeat, as they may in SQL. */
export interface Column {
  readonly name: string;
  /** The source's own name of the type: `int8`, `timestamptz`, `TEXT`. */
  readonly type: string;
  readonly json: JsonForm;
}

/** What a cell of a tuple may hold: a text (or null) as the source printed it, or a value where the form is `value`. */
export type Cell = unknown;

/** One row, cells in column order. */
export type Tuple = readonly Cell[];

/** One row as JavaScript functions see it: names to values. */
export type Row = Record<string, unknown>;

/** How consistent the exported rows are with each other; written to the manifest, never lowered silently. */
export interface Consistency {
  /**
   * `snapshot`: one database snapshot · `epochs`: ranges of a key, each of one snapshot · `unchanged-file`: a file proven
   * unchanged · `stream`: whatever arrived.
   */
  readonly class: "snapshot" | "epochs" | "unchanged-file" | "stream";
  /** The facts that prove it: snapshot, LSN, fingerprints, times. No secrets. */
  readonly proof: Readonly<Record<string, string | number | boolean | null>>;
}

/** The positive proof that a source has delivered everything; an empty batch never means the end. */
export interface SourceEnd {
  readonly rows: number;
  readonly consistency: Consistency;
  /** SHA-256 (hex) of the query text or of what names the input; no secrets. */
  readonly queryDigest: string;
}

/** Rows that one attempt read in one snapshot: from a page, and a row, to those of the next epoch. */
export interface Epoch {
  readonly firstPage: number;
  readonly firstRow: number;
  readonly proof: Consistency["proof"];
}

/** A row's place in a source that can go on behind it. */
export interface Mark {
  /** Rows of the source up to this one, those of earlier attempts included. */
  readonly row: number;
  /** What the source needs to go on behind it. May be people's data: it is written sealed, or nowhere. */
  readonly key: readonly string[];
  /** What all rows of an attempt have in common: a digest of the columns, and the epochs so far. */
  readonly reading: { readonly columns: string; readonly epochs: readonly Epoch[] };
}

/** Where an export can go on in another snapshot: behind a page that ends between two rows of the source. */
export interface ResumePoint {
  readonly page: number;
  /** Records up to the end of that page, and the digest chain there. */
  readonly total: number;
  readonly chain: string;
  readonly mark: Mark;
}

/** What only a source brings that can go on behind a row. */
interface Marked {
  /** By row or record: where it came from. Those that one row of the source became have the same mark. */
  readonly marks?: readonly Mark[];
  /** On the first batch only, which has no rows: pages up to there are not made again. */
  readonly from?: ResumePoint;
}

interface BatchOf<Shape extends string, Item> extends Marked {
  readonly shape: Shape;
  /** Types by column: the layout of tuples, hints by name for documents (may be empty there). */
  readonly columns: readonly Column[];
  readonly rows: readonly Item[];
  /** About how many bytes of memory the batch holds. */
  readonly bytes: number;
  /** On the first batch only: how many rows will come, where the source can tell cheaply. For progress, never for proof. */
  readonly expects?: { readonly rows: number; readonly exact: boolean };
  /** On the last batch only, which may have no rows. */
  readonly end?: SourceEnd;
}

/** Rows in batches: `tuples` where no JavaScript needs names, `documents` where it does. */
export type RowBatch = BatchOf<"tuples", Tuple> | BatchOf<"documents", Row>;

/**
 * Serialized rows: records, back to back. Valid until the next batch is asked for. Bytes after the last end begin a
 * record that goes on in the next batch; only a record larger than a page may be handed over in such parts.
 */
export interface RecordBatch extends Marked {
  readonly bytes: Uint8Array;
  /** Where each record ends in `bytes`. */
  readonly ends: ArrayLike<number> & { readonly length: number };
  /** Framing (a CSV header, a closing bracket) belongs to the file but counts as no record. */
  readonly framing: boolean;
  readonly columns: readonly Column[];
  /** File name extension of the format, without a dot. */
  readonly extension: string;
  readonly expects?: { readonly rows: number; readonly exact: boolean };
  readonly end?: SourceEnd;
}

/** What only the last page knows: the columns and the source's proof. */
export interface FinalFacts {
  readonly columns: readonly Column[];
  readonly end: SourceEnd;
}

/** A page of serialized records in leased memory. Whoever takes it on must pass it on or release it. */
export interface Page extends PageIdentity {
  readonly content: Uint8Array;
  /** SHA-256 of `content`. */
  readonly digest: Uint8Array;
  /** File name extensions so far: `ndjson`, then `ndjson.zst`, then `ndjson.zst.age`. */
  readonly extension: string;
  readonly facts?: FinalFacts;
  /** Where the export could go on behind this page. */
  readonly point?: ResumePoint;
  /** When and how long a worker had it, in epoch milliseconds. */
  readonly work?: { readonly startMillis: number; readonly endMillis: number };
  /** Gives the page's memory back to the lease; a second call is an assertion failure. */
  release(): void;
}

/** A page after `compress`: `content` is the compressed frame, `bytes` and `digest` still speak of the records. */
export type FramedPage = Page;

/** A page after `encrypt`: `content` is what the destination will store. */
export interface SealedPage extends Page {
  /** SHA-256 of the sealed `content`. */
  readonly sealedDigest: Uint8Array;
}

/** A page that would survive a power cut: its bytes lie in the spool. */
export interface DurablePage extends Omit<PageIdentity, "chain"> {
  /** Object name: `00000000.ndjson.zst.age`. */
  readonly name: string;
  readonly sealedBytes: number;
  readonly sealedDigest: Uint8Array;
  /** W3C traceparent to store beside the object, when the run is traced. */
  traceparent?: string;
}

/** The destination has the page, checked, and the spool knows it. */
export interface Receipt extends Omit<PageIdentity, "chain"> {
  readonly name: string;
  readonly sealedBytes: number;
  readonly sealedDigest: Uint8Array;
}

/** What can travel between two stages. */
export interface Kinds {
  nothing: never;
  rows: RowBatch;
  records: RecordBatch;
  pages: Page;
  frames: FramedPage;
  sealed: SealedPage;
  durable: DurablePage;
  receipts: Receipt;
}
export type Kind = keyof Kinds;
