/**
 * The rows of one running statement, in batches of bytes.
 *
 * Flow control is the unread socket: while a batch waits for its taker nothing is read, and the server stops sending. The end
 * is the server's own packet that says so; a connection that ends is never taken for it.
 */
import type { Column, Tuple } from "../nouns.ts";
import { badData } from "./input-file.ts";
import type { Field, Running, Statement } from "./mysql-connection.ts";
import { explain } from "./mysql-errors.ts";
import type { Listening, Session } from "./mysql-session.ts";
import { describeField, type Print } from "./mysql-values.ts";
import { untilAborted } from "../until-aborted.ts";

export interface RowRoom {
  /** Memory of rows that are given together. */
  batchBytes(): number;
  /** Bytes of one row at most. */
  readonly maxRecord: number;
}

export interface RowsOfBatch {
  readonly columns: readonly Column[];
  readonly rows: readonly Tuple[];
  readonly bytes: number;
}

const rowOverheadBytes = 32;
const cellOverheadBytes = 24;
/** From this length on a row comes in several packets. */
const packetBytes = 0xffffff;

export interface BoundStatement {
  readonly statement: Statement;
  readonly values: readonly unknown[];
}

/** Runs the statement and gives its rows; the batch without rows is the last, and has the columns too. */
export async function* readRows(
  session: Session,
  { statement, values }: BoundStatement,
  room: RowRoom,
): AsyncGenerator<RowsOfBatch> {
  const { command, settle } = session.start(statement, values);
  const receiver = new RowReceiver(session, room);
  receiver.hear(command, settle);
  try {
    for (;;) {
      const batch = await receiver.next();
      yield batch;
      if (batch.rows.length === 0) return;
    }
  } finally {
    receiver.stop();
  }
}

class RowReceiver {
  readonly #session: Session;
  readonly #room: RowRoom;
  #columns: readonly Column[] = [];
  #prints: readonly Print[] = [];
  #rows: Tuple[] = [];
  #bytes = 0;
  #received = 0;
  #ended = false;
  #wake = () => {};
  #listening: Listening | undefined;

  constructor(session: Session, room: RowRoom) {
    this.#session = session;
    this.#room = room;
  }

  hear(command: Running, settle: () => void): void {
    const session = this.#session;
    session.parts.stream.on("data", this.#heard);
    command
      .on("fields", (fields) => this.#guard(() => this.#describe(fields ?? [])))
      .on("result", (cells) => this.#guard(() => this.#take(cells)))
      .on("error", (error) => session.fail(explain(error, "query", this.#received)))
      .on("end", () => {
        this.#ended = true;
        settle();
        this.#wake();
      });
  }

  async next(): Promise<RowsOfBatch> {
    if (!this.#ended && this.#bytes < this.#room.batchBytes()) await this.#wait();
    // After an error the library announces an end as well.
    this.#session.life.throwIfAborted();
    const batch = { columns: this.#columns, rows: this.#rows, bytes: this.#bytes };
    this.#rows = [];
    this.#bytes = 0;
    return batch;
  }

  stop(): void {
    const { stream } = this.#session.parts;
    stream.off("data", this.#heard);
    stream.resume();
  }

  async #wait(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    this.#listening = this.#session.listen();
    this.#session.parts.stream.resume();
    try {
      await untilAborted(promise, this.#session.life);
    } finally {
      this.#listening.stop();
    }
  }

  /** What is thrown here would end in the library; after a failure nothing is taken any more. */
  #guard(work: () => void): void {
    if (this.#session.life.aborted) return;
    try {
      work();
    } catch (error) {
      this.#session.fail(error);
    }
  }

  #describe(fields: readonly Field[]): void {
    const described = fields.map(describeField);
    this.#prints = described.map(({ print }) => print);
    this.#columns = described.map(({ name, type, json }) => ({ name, type, json }));
  }

  #take(cells: readonly unknown[]): void {
    let length = 0;
    const row = cells.map((cell, at) => {
      const text = cell === null ? null : this.#prints[at]!(cell as never);
      length += text?.length ?? 0;
      return text;
    });
    this.#rows.push(row);
    this.#session.received = this.#received += 1;
    this.#bytes += rowOverheadBytes + cellOverheadBytes * row.length + length;
    if (this.#bytes < this.#room.batchBytes()) return;
    this.#session.parts.stream.pause();
    this.#wake();
  }

  readonly #heard = (): void => {
    this.#listening?.heard();
    const { length, largePacketParts } = this.#session.parts.packetParser;
    const { maxRecord } = this.#room;
    if (length + packetBytes * largePacketParts.length <= maxRecord) return;
    const what = `larger than maxRecord (${maxRecord} bytes); raise it, and \`memory\` with it`;
    this.#session.fail(badData(`row ${this.#received + 1}`, what));
  };
}
