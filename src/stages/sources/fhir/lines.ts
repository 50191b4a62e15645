/**
 * One NDJSON file of a bulk export, line by line. When it breaks off it goes on where it was: from the byte behind the
 * last line where the server vouches with a strong ETag that the file is the same, else from its start, compared.
 */
import { PipelineError } from "../../../errors.ts";
import { TryAgain } from "../../destinations/retry.ts";
import { Harvest, type Resources, type Verdict } from "./harvest.ts";
import type { Resource } from "./resource-reader.ts";
import { type Asked, type FhirServer, readThrough } from "./server.ts";
import { turn } from "./turns.ts";

export interface BulkFile {
  readonly url: URL;
  /** Without credentials: the server says that none are needed. */
  readonly anonymous: boolean;
  /** Lines as the manifest counts them. */
  readonly count?: number | undefined;
  /** For messages: `file 3 (Observation)`. */
  readonly label: string;
}

/** Lines of one file before the next one of the same type has its turn. */
const turnLines = 1000;
const lineFeed = 10;
const ndjson = [
  "application/fhir+ndjson",
  "application/ndjson",
  "application/x-ndjson",
  "application/jsonl",
  // What stores of files say of what they do not know.
  "application/octet-stream",
  "binary/octet-stream",
  "text/plain",
];

export async function* readLines(
  server: FhirServer,
  file: BulkFile,
  maxRecord: number,
  judge: (resource: Resource) => Verdict,
  signal: AbortSignal,
): AsyncGenerator<Resources | typeof turn> {
  const lines = new Lines(file, maxRecord, judge);
  const read = () => readBody(server, lines, signal);
  yield* readThrough(read, () => lines.harvest.given, server, signal);
  server.statistics.paged(lines.harvest.given);
  const { count } = file;
  if (count === undefined || count === lines.harvest.given) return;
  throw new PipelineError(
    "source-failed",
    `${file.label} has ${lines.harvest.given} lines, the export's manifest says ${count}; run again`,
  );
}

async function* readBody(
  server: FhirServer,
  lines: Lines,
  signal: AbortSignal,
): AsyncGenerator<Resources | typeof turn> {
  const { harvest } = lines;
  const answer = await server.ask(lines.request(), signal);
  const etag = answer.header("etag");
  if (answer.status === 206) lines.resume(answer.header("content-range"), etag);
  else lines.begin(etag);
  try {
    for await (const piece of answer.pieces()) {
      for (const isTurn of lines.push(piece)) {
        if (isTurn || harvest.isFull) yield* harvest.take();
        if (isTurn) yield turn;
      }
    }
  } catch (error) {
    // What is whole was counted, so it goes on before the rest is asked for again.
    if (error instanceof TryAgain) yield* harvest.take();
    throw error;
  }
  lines.end();
  harvest.finish();
  yield* harvest.take();
}

class Lines {
  readonly harvest: Harvest;
  readonly #file: BulkFile;
  readonly #maxRecord: number;
  readonly #judge: (resource: Resource) => Verdict;
  /** Bytes of the file that were read, and those of them that are whole lines. */
  #position = 0;
  #whole = 0;
  #etag: string | undefined;

  constructor(file: BulkFile, maxRecord: number, judge: (resource: Resource) => Verdict) {
    this.#file = file;
    this.#maxRecord = maxRecord;
    this.#judge = judge;
    this.harvest = new Harvest(file.label);
  }

  request(): Asked {
    const { url, anonymous } = this.#file;
    const isRest = this.#whole > 0 && this.#etag !== undefined && this.harvest.isCurrent;
    return {
      url,
      anonymous,
      media: ndjson,
      headers: {
        accept: "application/fhir+ndjson",
        ...(isRest && { range: `bytes=${this.#whole}-`, "if-range": this.#etag! }),
      },
      takes: isRest ? [200, 206] : [200],
    };
  }

  begin(etag: string | undefined): void {
    this.#position = 0;
    this.#whole = 0;
    this.#etag = strong(etag);
    this.harvest.begin();
  }

  /** @throws PipelineError `source-changed` when it is not the rest of the same file */
  resume(range: string | undefined, etag: string | undefined): void {
    const start = /^bytes (\d+)-/.exec(range ?? "")?.[1];
    if (Number(start) !== this.#whole || strong(etag) !== this.#etag)
      throw new PipelineError(
        "source-changed",
        `${this.#file.label} broke off, and its rest is not that of the same file; run again, or discard the unfinished run with --restart`,
      );
    this.#position = this.#whole;
    this.harvest.resume();
  }

  /** Takes whole lines; says after each of them whether another file has its turn. */
  *push(piece: Uint8Array): Generator<boolean> {
    let start = 0;
    for (let end; (end = piece.indexOf(lineFeed, start)) >= 0; start = end + 1) {
      this.#add(piece, start, end);
      const isLine = this.#endLine();
      this.#position += 1;
      this.#whole = this.#position;
      if (isLine) yield this.harvest.isCurrent && this.harvest.given % turnLines === 0;
    }
    this.#add(piece, start, piece.length);
  }

  /** A last line needs no line feed. */
  end(): void {
    this.#endLine();
  }

  #add(piece: Uint8Array, start: number, end: number): void {
    const { buffer } = this.harvest;
    const tooLong = buffer.begun + end - start > this.#maxRecord;
    if (tooLong)
      throw this.harvest.broken(`larger than maxRecord (${this.#maxRecord} bytes); raise it`);
    buffer.append(piece, start, end);
    this.#position += end - start;
  }

  /** False for a line with nothing on it. */
  #endLine(): boolean {
    const { buffer } = this.harvest;
    // As of files of NDJSON elsewhere; whoever parses JSON may (RFC 8259, 8.1).
    if (this.#whole === 0) buffer.unmark();
    buffer.trim();
    if (buffer.begun === 0) return false;
    this.harvest.accept(this.#judge);
    return true;
  }
}

/** A weak ETag says that two files mean the same, not that they are the same. */
const strong = (etag: string | undefined): string | undefined =>
  etag !== undefined && /^"[\x21\x23-\x7e]*"$/.test(etag) ? etag : undefined;
