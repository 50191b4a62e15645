/**
 * One query whose rows never become objects: while it answers, the socket's bytes are ours.
 *
 * `pg` keeps what it does well: it connects, sends the query, and reads every message that is no DataRow. Flow control is the
 * unread socket. The end is what the server states: the count in its command tag must be the rows that were walked.
 */
import type { Socket } from "node:net";
import { assert, PipelineError } from "../../../errors.ts";
import { freeBuffer } from "../../free-buffer.ts";
import { explain } from "../postgres-errors.ts";
import type { Session, StartedQuery } from "../postgres-session.ts";
import type { Listening } from "../postgres-silence.ts";
import type { DirectReader } from "../postgres-socket.ts";
import { createAnswer, type Query } from "./wire-answer.ts";

type Listener = (bytes: Buffer) => void;

/** A read that fills less of the inlet says that we have caught up with the server. */
const fullRead = 3 / 4;
/** A pause in which the kernel's buffers take what the server sends. */
const restMillis = 1;

/** Records back to back in memory that is used again, and where each of them ends. */
interface Output {
  /** Whole records so far, taken ones included. */
  readonly records: number;
  readonly length: number;
  readonly ends: Uint32Array;
  /** Whole records; of a record that alone fills the output, what there is of it. Valid until `take`. */
  readonly takeable: Uint8Array;
  take(): void;
}

/** Makes something of the bytes of an answer, in order and only while its output has room. */
export interface Walker {
  readonly output: Output;
  /** Where a read of the socket goes, all of it, whenever everything read before has been walked. */
  readonly inlet: Buffer;
  readonly isEmpty: boolean;
  /** What came of a message that is not whole yet, for whoever reads on; undefined when some of it was used already. */
  readonly begun: Buffer | undefined;
  /** Says that `bytes` bytes of the inlet were read, and walks them. */
  read(bytes: number): void;
  /** Walks on, until everything is walked or the output is full and must be taken first. */
  walk(): void;
}

export class WireQuery<Walks extends Walker> {
  readonly walker: Walks;
  readonly #session: Session;
  readonly #socket: Socket;
  readonly #direct: StartedQuery["direct"];
  readonly #isTls: boolean;
  readonly #settle: () => void;
  /** How `pg` reads the socket when it is not ours. */
  readonly #parse: Listener;
  /** Came outside the inlet and was not yet walked: one chunk, and more only if some were on their way at a pause. */
  readonly #unread: Buffer[] = [];
  /** Bytes of the inlet that were read and not yet walked. */
  #inletBytes = 0;
  /** What the command tag states, once the query has ended. */
  #end: { readonly stated: number | undefined } | undefined;
  #waiting: PromiseWithResolvers<boolean> | undefined;
  #listening: Listening | undefined;

  /**
   * Sends the query; its answer stays unread until `next` is called.
   * @param makeWalker is given what takes every message that is none of the walker's
   */
  constructor(session: Session, query: Query, makeWalker: (onMessage: Listener) => Walks) {
    const answer = createAnswer(query, {
      onEnd: (stated) => (this.#end = { stated }),
      onError: (error) => session.fail(explain(error, "query", this.walker.output.records)),
    });
    const { socket, direct, settle } = session.start(answer);
    const [parse, ...others] = socket.listeners("data") as Listener[];
    assert(parse && others.length === 0, "pg alone listens to its socket");
    this.walker = makeWalker(parse);
    this.#session = session;
    this.#socket = socket;
    this.#direct = direct;
    this.#isTls = "encrypted" in socket;
    this.#settle = settle;
    this.#parse = parse;
    session.life.addEventListener("abort", this.#onFail, { once: true });
    socket.off("data", parse);
    if (direct) direct(this.#asReader());
    else socket.on("data", this.#onData);
    socket.pause();
  }

  /** Walks on until the output is full or the query has ended; true when there may be more. */
  next(): Promise<boolean> {
    this.#session.life.throwIfAborted();
    const waiting = Promise.withResolvers<boolean>();
    this.#waiting = waiting;
    this.#tryWalk();
    if (this.#waiting) {
      this.#listen();
      this.#socket.resume();
    }
    return waiting.promise;
  }

  /** Gives the socket back to `pg` when the query has ended; otherwise leaves it unread, to be closed. */
  release(): void {
    this.#listening?.stop();
    this.#session.life.removeEventListener("abort", this.#onFail);
    this.#direct?.(undefined);
    this.#socket.off("data", this.#onData);
    const { begun } = this.walker;
    if (!this.#end || !this.#isDry || !begun || this.#session.life.aborted) return;
    this.#socket.on("data", this.#parse);
    this.#settle();
    // A notice may follow an answer at any time, and be cut by the read that ended it.
    if (begun.length > 0) this.#parse(Buffer.from(begun));
    this.#socket.resume();
  }

  get #isDry(): boolean {
    return this.#unread.length === 0 && this.#inletBytes === 0 && this.walker.isEmpty;
  }

  /**
   * Where a read goes is said when the one before it ends, and there is none until somebody waits again, with all walked. But
   * reads of TLS go on for a while after a pause; what they bring must not fall upon what is yet to be walked.
   */
  #asReader(): DirectReader {
    const inlet = () => (!this.#isTls || this.#isDry ? this.walker.inlet : undefined);
    return {
      get inlet() {
        return inlet();
      },
      onRead: this.#onRead,
    };
  }

  /** Says whether the socket is to be read on: to be stopped by its own read costs less than `pause` and `resume`. */
  readonly #onRead = (bytes: Buffer): boolean => {
    const isInInlet = bytes.buffer === this.walker.inlet.buffer;
    if (isInInlet) {
      assert(this.#isDry, "what the inlet holds is walked before the next read");
      this.#inletBytes = bytes.length;
    }
    // What lies elsewhere is used after the call that brought it.
    else this.#unread.push(this.#direct ? copyOf(bytes) : bytes);
    // The output is only written to while somebody waits for it.
    if (!this.#waiting) return false;
    this.#tryWalk();
    if (!this.#waiting) return false;
    this.#listen();
    const isCaughtUp = isInInlet && bytes.length < fullRead * this.walker.inlet.length;
    if (this.#isTls || !isCaughtUp) return true;
    // Both sides are woken once for many sends, instead of for each: a tenth less CPU of the server, a fifth of ours.
    setTimeout(() => this.#waiting && this.#socket.resume(), restMillis);
    return false;
  };

  readonly #onData = (bytes: Buffer): void => {
    if (!this.#onRead(bytes)) this.#socket.pause();
  };

  /** The silence begins anew, where more is waited for. */
  #listen(): void {
    if (this.#listening) this.#listening.heard();
    else this.#listening = this.#session.listen(() => this.walker.output.records);
  }

  readonly #onFail = (): void => {
    this.#listening?.stop();
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
    this.walker.walk();
    while (this.walker.isEmpty) {
      const bytes = this.#inletBytes || this.#fillInlet();
      if (bytes === 0) break;
      this.#inletBytes = 0;
      this.walker.read(bytes);
    }
    if (!this.walker.isEmpty) return this.#give(true);
    if (!this.#end) return;
    const { records } = this.walker.output;
    if (this.#end.stated === records) this.#give(false);
    else this.#session.fail(miscounted(this.#end.stated, records));
  }

  /** Puts what came elsewhere into the inlet; gives how much of it. */
  #fillInlet(): number {
    const [chunk] = this.#unread;
    if (!chunk) return 0;
    const bytes = chunk.copy(this.walker.inlet);
    if (bytes < chunk.length) this.#unread[0] = chunk.subarray(bytes);
    else {
      this.#unread.shift();
      // A read's memory is its own, and read once.
      freeBuffer(chunk);
    }
    return bytes;
  }

  #give(more: boolean): void {
    this.#listening?.rest();
    this.#waiting?.resolve(more);
    this.#waiting = undefined;
  }
}

/** In memory of its own, which can be freed. */
const copyOf = (bytes: Buffer): Buffer => Buffer.from(new Uint8Array(bytes).buffer);

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
