/**
 * Destination `postgres:` · the records of pages as rows of a table.
 *
 * takes / gives  pages of NDJSON, neither compressed nor encrypted / nothing back but the manifest and its like
 * holds          one page as text
 * order          puts one after another, in page order: of rows with the same key the last one stays
 * ends           a put returns when its transaction is committed
 * fails          `destination-refused` (rows that do not fit), `destination-unreachable`, `destination-failed`, `foreign-object`
 *
 * What was stored is noted in `spillway_objects`, beside the table and in the transaction that writes the rows: a page
 * that is put again after a crash is found there, and its rows are not written twice.
 */
import { PipelineError } from "../../errors.ts";
import { openSession, type Session } from "../sources/postgres-session.ts";
import type { Destination, ListedObject, OpenDestination, StoredObject } from "./destination.ts";
import { patience, persist, TryAgain } from "./retry.ts";
import { describeTable, writeRows, type Table, type TableOptions } from "./table-rows.ts";

/** A connection that knows its table. */
interface Target {
  readonly session: Session;
  readonly table: Table;
  /** Where what was stored is noted. */
  readonly objects: string;
}

const connectMillis = 10_000;

export const openPostgres: OpenDestination = async (url, { timeoutMillis, postgres }) => {
  const wanted = tableOf(postgres);
  const shown = `postgres://${url.host}${url.pathname}/${wanted.table}`;
  const life = new AbortController();
  let target: Promise<Target> | undefined;

  const connect = async (): Promise<Target> => {
    const options = { url: url.href, connectMillis, answerMillis: timeoutMillis };
    const session = await openSession(options, life.signal);
    try {
      await session.ask("set timezone = 'UTC'");
      const table = await describeTable(session, wanted);
      const objects = `${table.schema}.spillway_objects`;
      await session.ask("begin");
      // Two at once would both find it missing.
      await session.ask("select pg_advisory_xact_lock(hashtext('spillway_objects'))");
      await session.ask(
        `create table if not exists ${objects} (name text collate "C" primary key, bytes bigint not null, ` +
          "sha256 bytea not null, content bytea, stored_at timestamptz not null default now())",
      );
      await session.ask("commit");
      return { session, table, objects };
    } catch (error) {
      await session.close();
      throw error;
    }
  };
  /** The connection there is, or a new one after it failed. */
  const using = async <T>(
    signal: AbortSignal,
    work: (target: Target) => Promise<T>,
  ): Promise<T> => {
    const attempt = async () => {
      signal.throwIfAborted();
      target ??= connect();
      try {
        const open = await target;
        const stop = () => open.session.fail(signal.reason);
        signal.addEventListener("abort", stop, { once: true });
        return await work(open).finally(() => signal.removeEventListener("abort", stop));
      } catch (error) {
        // Whatever state it is in, the server rolls back what was not committed.
        const broken = target;
        target = undefined;
        await broken.then(({ session }) => session.close()).catch(() => {});
        signal.throwIfAborted();
        throw asDestination(error);
      }
    };
    return persist(attempt, signal, patience);
  };

  return {
    url: shown,
    sequential: true,
    put: (object, signal) => using(signal, (open) => store(open, object)),
    async *get(name, signal) {
      const content = await using(signal, (open) => read(open, name));
      yield content;
    },
    async *list(folder, signal) {
      yield* await using(signal, (open) => listBelow(open, folder));
    },
    finish: async () => {},
    async close() {
      await target?.then(({ session }) => session.close()).catch(() => {});
      life.abort();
    },
  } satisfies Destination;
};

function tableOf(options: TableOptions | undefined): TableOptions {
  if (options) return options;
  throw new PipelineError(
    "config-invalid",
    "upload: a postgres destination needs `table`, the table that takes the rows",
  );
}

/** One transaction: the note that the object is stored, and, of a page, its rows. */
async function store({ session, table, objects }: Target, object: StoredObject): Promise<void> {
  const { name, bytes, sha256 } = object;
  const hex = (content: Uint8Array) => `\\x${Buffer.from(content).toString("hex")}`;
  const records = recordsOf(object);
  await session.ask("begin");
  const noted = await session.ask(
    `insert into ${objects} (name, bytes, sha256, content) values ($1, $2, $3, $4) on conflict do nothing returning 1`,
    [name, String(bytes.length), hex(sha256), records === undefined ? hex(bytes) : null],
  );
  if (noted.rows.length === 0) {
    const found = await session.ask(`select sha256 from ${objects} where name = $1`, [name]);
    await session.ask("rollback");
    if (found.rows[0]?.[0] === hex(sha256)) return;
    throw new PipelineError(
      "foreign-object",
      `${name} was written from other bytes at the destination; nothing was overwritten`,
      { details: { name } },
    );
  }
  if (records !== undefined) await writeRows(session, table, records);
  const { command } = await session.ask("commit");
  if (command !== "COMMIT")
    throw new PipelineError(
      "destination-failed",
      `the server ended the transaction with ${command}`,
    );
}

const newline = 0x0a;

/** The records of a page; undefined for what is no page. */
function recordsOf({ name, bytes }: StoredObject): string | undefined {
  const [, layers] = /\/\d{8}\.([a-z.]+)$/.exec(name) ?? [];
  if (layers === undefined) return undefined;
  if (layers !== "ndjson") {
    throw new PipelineError(
      "destination-refused",
      "the destination reads what it takes; expected `serialize: ndjson`, `compress: none` and `encrypt: none`",
    );
  }
  if (bytes.length > 0 && bytes.at(-1) !== newline) {
    throw new PipelineError(
      "destination-refused",
      "a record is longer than a page, and rows are written page by page; raise `chunk`",
    );
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

async function read({ session, objects }: Target, name: string): Promise<Uint8Array> {
  const sql = `select encode(content, 'base64'), content is null from ${objects} where name = $1`;
  const [found] = (await session.ask(sql, [name])).rows;
  const details = { name };
  if (!found)
    throw new PipelineError("not-found", `${name} does not exist at the destination`, { details });
  if (found[0] !== null && found[0] !== undefined) return Buffer.from(found[0], "base64");
  throw new PipelineError(
    "destination-refused",
    `${name} became rows of a table; its bytes are not there to be read back`,
    { details },
  );
}

/** Names are in the order of their bytes, as everywhere. */
async function listBelow({ session, objects }: Target, folder: string): Promise<ListedObject[]> {
  const prefix = folder === "" ? "" : `${folder.replace(/\/$/, "")}/`;
  const sql = `select name, bytes from ${objects} where starts_with(name, $1) order by name`;
  const { rows } = await session.ask(sql, [prefix]);
  return rows.map(([name, bytes]) => ({ name: name!, bytes: Number(bytes) }));
}

const codesHere = {
  "source-unreachable": "destination-unreachable",
  "source-failed": "destination-failed",
  "source-refused": "destination-refused",
  "source-bad-data": "destination-refused",
} as const;

/** What a session says of a source, said of a destination; what may pass is tried again. */
function asDestination(error: unknown): unknown {
  if (!(error instanceof PipelineError)) return error;
  const code = codesHere[error.code as keyof typeof codesHere];
  if (code === undefined) return error;
  const { details } = error;
  const why = details["sqlstate"] ? ` (SQLSTATE ${details["sqlstate"]})` : "";
  const failure =
    code === "destination-refused" && why
      ? new PipelineError(
          code,
          `the server refused the rows of a page${why}; expected records that fit the table, and rights to write it`,
          { details },
        )
      : new PipelineError(code, error.message, { details });
  return code === "destination-refused" ? failure : new TryAgain(failure);
}
