/**
 * One query whose rows never become objects: while it answers, the socket's bytes are ours.
 *
 * `pg` keeps what it does well: it connects, sends the query, and reads every message that is no DataRow. Flow control is the
 * unread socket. The end is what the server states: the count in its command tag must be the rows that were walked.
 */
import type { Connection, Submittable } from "pg";
import type { Socket } from "node:net";
import { assert, PipelineError } from "../../../errors.ts";
import { countOf } from "../postgres-cursor.ts";
import { explain } from "../postgres-errors.ts";
import { type Session, silence } from "../postgres-session.ts";
import type { RowWalker } from "./data-rows.ts";

interface Query {
  readonly sql: string;
  readonly values: readonly (string | null)[];
}
interface Protocol extends Omit<Connection, "bind"> {
  bind(config: { values: Query["values"] }, more: boolean): void;
}
type Listener = (bytes: Buffer) => void;

/** Makes something of an answer's bytes: what a query needs of it. */
export interface Walker {
  readonly output: { readonly records: number };
  /** Takes in `chunk` from `start` on; gives where it stopped, before the end when its output must be taken first. */
  walk(chunk: Buffer, start: number): number;
}

export class WireQuery<Walks extends Walker = RowWalker> {
  readonly walker: Walks;
  readonly #session: Session;
  readonly #socket: Socket;
  readonly #settle: () => void;
  /** How `pg` reads the socket when it is not ours. */
  readonly #parse: Listener;
  /** Read but not yet walked: one chunk, and more only if some were on their way when the socket was paused. */
  readonly #unread: Buffer[] = [];
  #at = 0;
  /** What the command tag states, once the query has ended. */
  #end: { readonly stated: number | undefined } | undefined;
  #waiting: PromiseWithResolvers<boolean> | undefined;
  #silence: NodeJS.Timeout | undefined;

  /** Sends the query; its answer stays unread until `next` is called. */
  constructor(session: Session, query: Query, makeWalker: (onMessage: Listener) => Walks) {
    const answer = createAnswer(query, {
      onEnd: (stated) => (this.#end = { stated }),
      onError: (error) => session.fail(explain(error, "query", this.walker.output.records)),
    });
    const { socket, settle } = session.start(answer);
    const [parse, ...others] = socket.listeners("data") as Listener[];
    assert(parse && others.length === 0, "pg alone listens to its socket");
    this.walker = makeWalker(parse);
    this.#session = session;
    this.#socket = socket;
    this.#settle = settle;
    this.#parse = parse;
    session.life.addEventListener("abort", this.#onFail, { once: true });
    socket.off("data", parse);
    socket.on("data", this.#onData);
    socket.pause();
  }

  /** Walks on until the output is full or the query has ended; true when there may be more. */
  next(): Promise<boolean> {
    this.#session.life.throwIfAborted();
    const waiting = Promise.withResolvers<boolean>();
    this.#waiting = waiting;
    const { answerMillis } = this.#session.options;
    this.#silence = setTimeout(
      () => this.#session.fail(silence(answerMillis, this.walker.output.records)),
      answerMillis,
    );
    this.#tryWalk();
    if (this.#waiting) this.#socket.resume();
    return waiting.promise;
  }

  /** Gives the socket back to `pg` when the query has ended; otherwise leaves it unread, to be closed. */
  release(): void {
    clearTimeout(this.#silence);
    this.#session.life.removeEventListener("abort", this.#onFail);
    this.#socket.off("data", this.#onData);
    if (!this.#end || this.#unread.length > 0 || this.#session.life.aborted) return;
    this.#socket.on("data", this.#parse);
    this.#settle();
    this.#socket.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#unread.push(chunk);
    if (this.#waiting) {
      this.#silence?.refresh();
      this.#tryWalk();
    } else this.#socket.pause();
  };

  readonly #onFail = (): void => {
    clearTimeout(this.#silence);
    this.#socket.pause();
    this.#waiting?.reject(this.#session.life.reason as Error);
    this.#waiting = undefined;
  };

  #tryWalk(): void {
    try {
      this.#walk();
    } catch (error) {
      this.#session.fail(explain(error, "query", this.walker.output.records));
    }
  }

  #walk(): void {
    for (let chunk = this.#unread[0]; chunk; chunk = this.#unread[0]) {
      this.#at = this.walker.walk(chunk, this.#at);
      if (this.#at < chunk.length) return this.#give(true);
      this.#unread.shift();
      this.#at = 0;
      free(chunk);
    }
    if (!this.#end) return;
    const { records } = this.walker.output;
    if (this.#end.stated === records) this.#give(false);
    else this.#session.fail(miscounted(this.#end.stated, records));
  }

  #give(more: boolean): void {
    this.#socket.pause();
    clearTimeout(this.#silence);
    this.#waiting?.resolve(more);
    this.#waiting = undefined;
  }
}

/** What `pg` calls while the query runs. */
function createAnswer(
  { sql, values }: Query,
  on: { onEnd: (stated: number | undefined) => void; onError: (error: unknown) => void },
): Submittable {
  let stated: number | undefined;
  return {
    submit(connection: Protocol) {
      connection.parse({ name: "", text: sql, types: [] }, true);
      connection.bind({ values }, true);
      connection.execute({ portal: "", rows: "0" }, true);
      connection.sync();
    },
    handleCommandComplete: ({ text }: { text: string }) => (stated = countOf(text)),
    handleEmptyQuery() {},
    handlePortalSuspended() {},
    handleError: on.onError,
    handleReadyForQuery: () => on.onEnd(stated),
  } as unknown as Submittable;
}

/** A read's memory is its own and read once: given back at once, not when a collection comes by. */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

function miscounted(stated: number | undefined, walked: number): PipelineError {
  if (stated === undefined) {
    return new PipelineError(
      "source-refused",
      "the server states no row count for this kind of query, so its end cannot be proven; expected a select",
    );
  }
  return new PipelineError(
    "source-failed",
    `the server states ${stated} rows but sent ${walked}; expected them to be equal`,
    { details: { rows: walked } },
  );
}
