/**
 * One query whose rows never become objects: while it answers, the socket's bytes are ours.
 *
 * `pg` keeps what it does well: it connects, sends the query, and reads every message that is no DataRow. Flow control is the
 * unread socket. The end is what the server states: the count in its command tag must be the rows that were walked.
 */
import type { Connection, Submittable } from "pg";
import { PipelineError } from "../../errors.ts";
import { countOf } from "../postgres-cursor.ts";
import { explain } from "../postgres-errors.ts";
import { type Session, silence } from "../postgres-session.ts";
import type { RowWalker } from "./data-rows.ts";

export interface WireQuery {
  /** Walks on until the output is full or the query has ended; true when there may be more. */
  next(): Promise<boolean>;
  /** Gives the socket back to `pg`. */
  release(): void;
}

interface Protocol extends Omit<Connection, "bind"> {
  bind(config: { values: readonly (string | null)[] }, more: boolean): void;
}

/** Sends the query and walks its answer as `next` is called. */
export function startWireQuery(
  session: Session,
  query: { readonly sql: string; readonly values: readonly (string | null)[] },
  makeWalker: (onMessage: (message: Buffer) => void) => RowWalker,
): WireQuery & { readonly walker: RowWalker } {
  let waiting: PromiseWithResolvers<boolean> | undefined;
  let rest: { chunk: Buffer; at: number } | undefined;
  let ended = false;
  let timer: NodeJS.Timeout | undefined;

  const settle = (more: boolean) => {
    clearTimeout(timer);
    waiting?.resolve(more);
    waiting = undefined;
  };
  const check = (stated: number | undefined) => {
    if (stated === walker.rows) return;
    session.fail(miscounted(stated, walker.rows));
  };
  const running = session.start({
    submit(connection: Protocol) {
      connection.parse({ name: "", text: query.sql, types: [] }, true);
      connection.bind({ values: query.values }, true);
      connection.execute({ portal: "", rows: "0" }, true);
      connection.sync();
    },
    handleCommandComplete: ({ text }: { text: string }) => check(countOf(text)),
    handleEmptyQuery: () => check(undefined),
    handlePortalSuspended: () => check(undefined),
    handleError: (error: unknown) => session.fail(explain(error, "query", walker.rows)),
    handleReadyForQuery() {
      ended = true;
    },
  } as unknown as Submittable);
  const { socket } = running;
  const [parse] = socket.listeners("data") as ((bytes: Buffer) => void)[];
  const walker = makeWalker((message) => parse?.(message));

  const walk = (chunk: Buffer, at: number) => {
    try {
      const stopped = walker.walk(chunk, at);
      rest = stopped < chunk.length ? { chunk, at: stopped } : undefined;
      if (!rest) free(chunk);
    } catch (error) {
      session.fail(explain(error, "query", walker.rows));
    }
    if (rest || ended) {
      socket.pause();
      settle(!ended || rest !== undefined);
    }
  };
  const onData = (chunk: Buffer) => {
    if (waiting && !rest) {
      timer?.refresh();
      walk(chunk, 0);
    } else {
      // A chunk that was on its way when the socket was told to pause.
      rest = rest
        ? { chunk: Buffer.concat([rest.chunk.subarray(rest.at), chunk]), at: 0 }
        : { chunk, at: 0 };
      socket.pause();
    }
  };
  const onFail = () => {
    clearTimeout(timer);
    waiting?.reject(session.life.reason as Error);
    waiting = undefined;
  };
  session.life.addEventListener("abort", onFail, { once: true });
  if (parse) socket.off("data", parse);
  socket.on("data", onData);
  socket.pause();

  return {
    walker,
    next() {
      session.life.throwIfAborted();
      if (ended && !rest) return Promise.resolve(false);
      waiting = Promise.withResolvers();
      const { promise } = waiting;
      const { answerMillis } = session.options;
      timer = setTimeout(() => session.fail(silence(answerMillis, walker.rows)), answerMillis);
      if (rest) walk(rest.chunk, rest.at);
      if (waiting) socket.resume();
      return promise;
    },
    release() {
      clearTimeout(timer);
      session.life.removeEventListener("abort", onFail);
      socket.off("data", onData);
      if (parse) socket.on("data", parse);
      if (ended) running.settle();
      socket.resume();
    },
  };
}

/** A read's memory is its own and read once: given back at once, not when a collection comes by. */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && !buffer.detached)
    buffer.transfer(0);
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
