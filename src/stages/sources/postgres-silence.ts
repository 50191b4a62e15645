/**
 * The wait for a server that says nothing, and what its silence means.
 *
 * A server that sorts says nothing for minutes, and so does a network that swallows everything. After a moment of silence a
 * second connection asks: does anybody answer there, does the backend still live, and does it work or wait for us? Waiting
 * for us while we wait for it means that what one side sent never arrives. A server that cannot be asked is believed
 * until `timeout`. On a busy machine an answer may be late: nobody is gone who did not answer once.
 */
import type { Client } from "pg";
import { formatDuration } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import { afterRows } from "./after-rows.ts";
import { type ClientParts, createClient } from "./postgres-client.ts";

/** Silence after which the server is asked, and again after each answer. */
const quietMillis = 1000;
/** Longest wait for the first byte of an answer, or for the rest of it; long enough for one lost packet of a handshake. */
const askMillis = 1500;
const tickMillis = 100;

/** What tells a backend from every other one of every server. */
export interface Backend {
  readonly pid: string;
  readonly started: string;
  readonly serverStarted: string;
}

/** Who waits for whom. */
export interface Peer {
  /** Where to ask, and the longest silence there may be. */
  readonly options: { readonly url: string; readonly answerMillis: number };
  /** Unknown before the first answer. */
  readonly backend: Backend | undefined;
  fail(reason: unknown): void;
}

export interface Listening {
  /** Something came, or is waited for again; the silence begins anew. */
  heard(): void;
  /** Nothing is waited for, until something is heard of again: one pair of timers serves a whole answer. */
  rest(): void;
  stop(): void;
}

/** `unknown there` ends the session; `waiting for us` and `no answer` do so at the second time in a row. */
type Verdict = "at work" | "waiting for us" | "unknown there" | "no answer";

/**
 * Waits until `stop`, and fails the session when silence lasts as long as `timeout` or proves to be the connection's end.
 * @param rows how many rows came so far, where rows are flowing
 */
export function listen(peer: Peer, rows?: () => number): Listening {
  const { answerMillis } = peer.options;
  let asker: Asker | undefined;
  let silence = 0;
  let before: Verdict = "at work";
  let listening = true;
  let last: NodeJS.Immediate | undefined;
  const fail = (error: PipelineError) => {
    if (listening) peer.fail(error);
  };
  const conclude = (verdict: Verdict, asked: number) => {
    if (!listening) return;
    if (asked === silence) {
      const isSure = verdict === "unknown there" || (verdict !== "at work" && verdict === before);
      if (isSure) return fail(lost(verdict, rows?.()));
      before = verdict;
      if (verdict === "no answer") return ask();
    }
    quiet?.refresh();
  };
  const ask = () => {
    if (!listening) return;
    const asked = silence;
    asker ??= createAsker(peer);
    void asker.ask().then((verdict) => conclude(verdict, asked));
  };
  const rest = () => {
    listening = false;
    asker?.close();
    asker = undefined;
  };
  // What came while this thread was busy, or stopped, is heard of first.
  const tooLong = () => fail(tooSilent(answerMillis, rows?.()));
  const deadline = setTimeout(() => (last = setImmediate(tooLong)), answerMillis);
  const quiet = quietMillis < answerMillis ? setTimeout(ask, quietMillis) : undefined;
  return {
    heard() {
      clearImmediate(last);
      listening = true;
      silence += 1;
      before = "at work";
      deadline.refresh();
      quiet?.refresh();
    },
    rest,
    stop() {
      rest();
      clearTimeout(deadline);
      clearTimeout(quiet);
    },
  };
}

type Asker = ReturnType<typeof createAsker>;

/** A second connection, made when it is first needed; one question at a time. */
function createAsker({ options, backend }: Peer) {
  let client: Client | undefined;
  let asking: Promise<Verdict> | undefined;
  const close = (closed = client) => {
    if (closed) (closed as unknown as ClientParts).connection.stream.destroy();
    if (closed === client) client = undefined;
  };
  const question = async (): Promise<Verdict> => {
    const isFirst = client === undefined;
    const asked = (client ??= createClient({ url: options.url, connectMillis: 0 }).client);
    if (isFirst) asked.on("error", () => close(asked));
    const { stream } = (asked as unknown as ClientParts).connection;
    const answered = Promise.withResolvers<true>();
    const hear = () => answered.resolve(true);
    stream.once("data", hear);
    const answer = (isFirst ? asked.connect() : Promise.resolve())
      .then(() => look(asked, backend))
      // Whoever refuses, answers.
      .catch((): Verdict => {
        close(asked);
        return "at work";
      });
    const first = await within(askMillis, Promise.race([answered.promise, answer]));
    // Where nothing was to be asked, nothing came.
    stream.off("data", hear);
    if (!first) close(asked);
    return first ? ((await within(askMillis, answer)) ?? "at work") : "no answer";
  };
  return {
    close: () => close(),
    ask: () => (asking ??= question().finally(() => (asking = undefined))),
  };
}

/** Time in which this thread was busy, or stopped, is nobody's silence: of it no more than a tick counts. */
async function within<T>(millis: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  let left = millis / tickMillis;
  const late = new Promise<undefined>((resolve) => {
    timer = setInterval(() => {
      left -= 1;
      if (left <= 0) resolve(undefined);
    }, tickMillis).unref();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearInterval(timer);
  }
}

/** None where another server answers, such as another replica behind the same name. */
const question = `
select (select coalesce(a.wait_event_type = 'Client', false)::text
        from pg_catalog.pg_stat_activity a where a.pid = $1::int4 and a.backend_start = $2::timestamptz)
where pg_catalog.pg_postmaster_start_time() = $3::timestamptz`;

async function look(client: Client, backend: Backend | undefined): Promise<Verdict> {
  if (!backend) return "at work";
  const { pid, started, serverStarted } = backend;
  const { rows } = await client.query<[string | null]>({
    text: question,
    values: [pid, started, serverStarted],
    rowMode: "array",
  });
  if (!rows[0]) return "at work";
  const [waits] = rows[0];
  if (waits === null) return "unknown there";
  return waits === "true" ? "waiting for us" : "at work";
}

const meanings: Readonly<Record<Exclude<Verdict, "at work">, string>> = {
  "no answer": `nobody answered a second connection, and then a third, within ${formatDuration(askMillis)} each`,
  "unknown there": "the server no longer knows of it",
  "waiting for us": "what one side sends does not arrive at the other",
};

function lost(verdict: Exclude<Verdict, "at work">, rows?: number): PipelineError {
  return new PipelineError(
    "source-failed",
    `the connection to the server fell silent${afterRows(rows)}, and ${meanings[verdict]}; expected it to last to the end of the query`,
    { details: rows === undefined ? {} : { rows } },
  );
}

/** The error of a deadline: the server said nothing for too long. */
function tooSilent(millis: number, rows?: number): PipelineError {
  return new PipelineError(
    "source-failed",
    `the server was silent for ${formatDuration(millis)}${afterRows(rows)}; expected an answer within \`timeout\`` +
      " (raise it for queries that compute long before their first row)",
    { details: { waitedMillis: millis, ...(rows === undefined ? {} : { rows }) } },
  );
}
