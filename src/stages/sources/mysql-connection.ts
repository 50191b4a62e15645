/**
 * Connections of `mysql2`: the only file that loads it. It is told to change nothing that it can leave as the server has
 * it: no number becomes a JavaScript number that cannot hold it, no time becomes a `Date`.
 */
import type { Socket } from "node:net";
import type { Connection, ConnectionOptions } from "mysql2";
import type { MysqlPlace } from "./mysql-url.ts";

export type { Connection };

/** What a connection has but its types leave out. */
export interface ConnectionParts {
  /** The socket that gives plain bytes: the one of TLS, once that is agreed. */
  readonly stream: Socket;
  readonly threadId: number | null;
  /** Whether the reader of a statement's rows is compiled for its columns, a third quicker, or is the same for all. */
  readonly config: { disableEval: boolean };
  /** Bytes of the packet that comes in, and parts before it of a row of 16 MiB or more. */
  readonly packetParser: { readonly length: number; readonly largePacketParts: readonly Buffer[] };
  prepare(sql: string, done: (error: Error | null, statement: Statement) => void): void;
}

export interface Statement {
  /** Of the result; none where the statement gives no rows. */
  readonly columns: readonly Field[];
  readonly parameters: readonly unknown[];
  execute(values: readonly unknown[]): Running;
}

/** A column as the protocol describes it. */
export interface Field {
  readonly name: string;
  readonly columnType: number;
  readonly columnLength: number;
  readonly decimals: number;
  readonly flags: number;
  readonly characterSet: number;
  /** MariaDB's name for what it sends as text: `json`. */
  readonly extendedFormat?: string;
}

/** A statement that answers: `fields`, then a `result` a row, then `end`; `error` comes before its `end`. */
export interface Running {
  on(event: "fields", heard: (fields: readonly Field[] | undefined) => void): this;
  on(event: "result", heard: (row: readonly unknown[]) => void): this;
  on(event: "error", heard: (error: unknown) => void): this;
  on(event: "end", heard: () => void): this;
}

const keepAliveMillis = 10_000;

/** By its default export: as CommonJS in a bundle it has no other. */
const loadLibrary = async () => (await import("mysql2")).default;

/** Begins to connect. */
export async function connect(place: MysqlPlace, connectMillis: number): Promise<Connection> {
  const { createConnection } = await loadLibrary();
  return createConnection({
    ...addressOf(place),
    user: place.user,
    password: place.password,
    ...(place.database !== undefined && { database: place.database }),
    ...(place.tls !== "disabled" && { ssl: tlsOf(place) }),
    charset: "UTF8MB4_UNICODE_CI",
    connectTimeout: connectMillis,
    enableKeepAlive: true,
    keepAliveInitialDelay: keepAliveMillis,
    connectAttributes: { program_name: "spillway" },
    // A server may ask for files of this machine; it gets none.
    flags: ["-LOCAL_FILES"],
    rowsAsArray: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    jsonStrings: true,
    timezone: "Z",
  } as ConnectionOptions);
}

/**
 * Values to bind: a whole number as BIGINT, since as JavaScript's number it would go as a DOUBLE, which compares other
 * than the digits say and is no LIMIT.
 */
export async function bindValues(
  values: readonly (string | number | boolean | null)[],
): Promise<readonly unknown[]> {
  const { TypedParameter } = await loadLibrary();
  return values.map((value) =>
    typeof value === "number" && Number.isSafeInteger(value) ? TypedParameter.BIGINT(value) : value,
  );
}

const addressOf = ({ host, port, socketPath }: MysqlPlace) =>
  socketPath === undefined ? { host, port } : { socketPath };

function tlsOf({ tls, ca }: MysqlPlace) {
  const isVerified = tls === "verify_identity";
  return {
    rejectUnauthorized: isVerified,
    verifyIdentity: isVerified,
    ...(ca !== undefined && { ca }),
  };
}
