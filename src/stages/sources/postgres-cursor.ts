/**
 * The row cursor: batches of rows, measured in bytes, from one query.
 *
 * `pg-query-stream` asks for rows in counted fetches. Here the count follows the measured width of rows (shrinks at
 * once, grows slowly) and is worth a few batches, so that a distant server is not asked for each. After every full
 * batch the socket is left unread: the server then waits, however wide the rows of this fetch have become. How
 * much a batch holds follows the pressure on memory.
 *
 * The end is what the server says: every fetch must bring exactly the rows asked for, and the last one the number its
 * command tag states (the tag counts the rows of the last fetch alone).
 */
import QueryStream from "pg-query-stream";
import { constants } from "node:buffer";
import type { Socket } from "node:net";
import { formatBytes } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import type { Column, Tuple } from "../nouns.ts";
import type { Pressure } from "../pressure.ts";
import { explain } from "./postgres-errors.ts";
import { findWideField, readFrames } from "./postgres-frames.ts";
import type { Listening } from "./postgres-silence.ts";
import { type Session, rawTexts } from "./postgres-session.ts";

/** What one read gives. */
export interface RowsOfBatch {
  readonly rows: readonly Tuple[];
  /** Memory the rows take, estimated from their bytes on the wire. */
  readonly bytes: number;
}

/**
 * A row may be as wide as a few batches, or up to this as what is left of memory takes in all its forms: bytes, texts,
 * what functions make of it, its record, and the next one already. A wider one is refused before it is read.
 */
const widestRowBatches = 4;
const widestRowBytes = 64 * 1024 * 1024;
const formsOfRow = 12;

const firstFetchRows = 64;
const fetchBatches = 4;
/** What V8 adds to a row and to each text: array, header, pointer, rounding. */
const rowOverheadBytes = 48;
const textOverheadBytes = 28;

export interface RowRoom {
  /** Memory of rows that are given together at ease; under pressure a share of it. */
  readonly batchBytes: number;
  readonly pressure: Pick<Pressure, "share" | "settings">;
  /** Of how many rows the server makes one: each may be as wide as if it came alone. */
  readonly joined?: number;
}

interface DataRow {
  readonly length: number;
  readonly fields: Tuple;
}

/**
 * Yields `RowsOfBatch`. Destroyed by the session's first failure and never waits for a dead server; whoever made it
 * closes the session.
 */
export class RowCursor extends QueryStream {
  /** Rows received. After the end: the rows the server states. */
  received = 0;
  readonly #session: Session;
  readonly #pressure: RowRoom["pressure"];
  readonly #batchBytes: number;
  readonly #widestBytes: number;
  readonly #columns: readonly Column[];
  #socket: Socket | undefined;
  #settle = () => {};
  #listening: Listening | undefined;
  #rows: Tuple[] = [];
  #bytes = 0;
  #wanted = false;
  #ended = false;
  #fetch: { readonly asked: number; rows: number; bytes: number } | undefined;
  #nextRows = firstFetchRows;

  constructor(
    session: Session,
    query: { sql: string; values: readonly (string | null)[]; columns: readonly Column[] },
    { batchBytes, pressure, joined = 1 }: RowRoom,
  ) {
    super(query.sql, [...query.values], { highWaterMark: 1, rowMode: "array", types: rawTexts });
    this.#session = session;
    this.#pressure = pressure;
    this.#batchBytes = batchBytes;
    const widestBytes = Math.max(
      widestRowBatches * batchBytes,
      Math.min(widestRowBytes, pressure.settings.spareBytes / formsOfRow),
    );
    this.#widestBytes = Math.min(joined * widestBytes, constants.MAX_STRING_LENGTH);
    this.#columns = query.columns;
    const suspend = this.handlePortalSuspended;
    const complete = this.handleCommandComplete;
    this.handleDataRow = (row: DataRow) => this.#take(row);
    this.handlePortalSuspended = () => {
      this.#check(this.#fetch?.asked);
      suspend();
    };
    this.handleCommandComplete = (message: { text: string }) => {
      this.#check(countOf(message.text));
      this.#ended = true;
      complete(message);
    };
    this.handleError = (error: unknown) => session.fail(explain(error, "query", this.received));
    session.life.addEventListener("abort", () => this.destroy(session.life.reason as Error), {
      once: true,
    });
  }

  /** Sends the query; rows flow as the stream is read. */
  start(): this {
    const running = this.#session.start(this);
    this.#socket = running.socket;
    this.#settle = () => running.settle();
    readFrames(running.socket, {
      heard: () => this.#listening?.heard(),
      fits: (bytes) => bytes <= this.#widestBytes,
      refuse: (bytes, head) => this.#session.fail(this.#tooWide(bytes, head)),
      fail: (error) => this.#session.fail(explain(error, "query", this.received)),
    });
    return this;
  }

  override _read(): void {
    this.#wanted = true;
    if (this.#fetch) this.#listen();
    else this.#ask();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // Never the cursor's own close: it waits for a server that may be gone. The session ends the connection.
    this.#rest();
    done(error);
  }

  #ask(): void {
    this.#fetch = { asked: this.#nextRows, rows: 0, bytes: 0 };
    this.#listen();
    const answered = (error: unknown) => {
      if (!error) this.#answered();
    };
    (this.cursor as { read(rows: number, done: typeof answered): void }).read(
      this.#nextRows,
      answered,
    );
  }

  #listen(): void {
    this.#rest();
    this.#listening = this.#session.listen(() => this.received);
    this.#socket?.resume();
  }

  #rest(): void {
    this.#listening?.stop();
    this.#listening = undefined;
  }

  #take({ length, fields }: DataRow): void {
    const bytes = length + rowOverheadBytes + fields.length * textOverheadBytes;
    this.#rows.push(fields);
    this.#bytes += bytes;
    this.received += 1;
    if (this.#fetch) {
      this.#fetch.rows += 1;
      this.#fetch.bytes += bytes;
    }
    if (this.#bytes < this.#batchBytes * this.#pressure.share) return;
    // Until the consumer takes this batch, the rest of the fetch stays with the server.
    this.#rest();
    this.#socket?.pause();
    this.#give();
  }

  #give(): void {
    if (this.#rows.length === 0) return;
    const batch: RowsOfBatch = { rows: this.#rows, bytes: this.#bytes };
    this.#rows = [];
    this.#bytes = 0;
    this.#wanted = false;
    this.push(batch);
  }

  /** A fetch has come to its end. */
  #answered(): void {
    this.#rest();
    const fetch = this.#fetch;
    this.#fetch = undefined;
    if (fetch && fetch.rows > 0) {
      const fetchBytes = fetchBatches * this.#batchBytes;
      const fitting = Math.max(1, Math.floor((fetchBytes * fetch.rows) / fetch.bytes));
      this.#nextRows = Math.min(fitting, fetch.asked * 2);
    }
    this.#give();
    // Until a cancelled server stops, what it had sent arrives; whoever left asks for no more.
    if (this.destroyed) return;
    if (this.#ended) {
      this.#settle();
      this.#socket?.resume();
      this.push(null);
    } else if (this.#wanted) this.#ask();
  }

  #check(stated: number | undefined): void {
    const rows = this.#fetch?.rows;
    if (stated !== undefined && stated === rows) return;
    this.#session.fail(
      stated === undefined
        ? new PipelineError(
            "source-refused",
            "the server states no row count for this kind of query, so its end cannot be proven; expected a select",
          )
        : new PipelineError(
            "source-failed",
            `the server states ${stated} rows for a fetch that brought ${rows}; expected them to be equal`,
            { details: { rows: this.received } },
          ),
    );
  }

  #tooWide(bytes: number, head: Buffer): PipelineError {
    const row = this.received + 1;
    const column = this.#columns[findWideField(head, this.#widestBytes / 2)]?.name;
    const help =
      bytes <= constants.MAX_STRING_LENGTH
        ? "raise `batch` to a quarter of that row, and `memory` with it"
        : "leave the column out, or do without row functions";
    return new PipelineError(
      "source-bad-data",
      `row ${row} is ${formatBytes(bytes)} wide${column === undefined ? "" : ` (column ${JSON.stringify(column)})`}; ` +
        `expected at most ${formatBytes(this.#widestBytes)}, since row functions need rows whole (${help})`,
      { details: { row, bytes, ...(column === undefined ? {} : { column }) } },
    );
  }
}

/** The row count of a command tag such as `SELECT 12`; none for `SHOW`. */
export function countOf(tag: string): number | undefined {
  const match = /^[A-Z]+ (\d+)$/.exec(tag);
  return match ? Number(match[1]) : undefined;
}
