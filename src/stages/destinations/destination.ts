/**
 * What a destination must be able to do: few verbs, each safe to repeat.
 *
 * Names are relative to the destination's URL and use `/` (`<pipeline>/<run id>/00000000.ndjson.zst.age`).
 */

import type { Finding } from "../finding.ts";
import type { Content } from "../durable-file.ts";
import type { World } from "../world.ts";

/** An object to store: its length and its digest are known before the first byte leaves. */
export interface StoredObject {
  readonly name: string;
  readonly bytes: Content;
  /** SHA-256 of `bytes`. */
  readonly sha256: Uint8Array;
  /** W3C traceparent to keep beside the object where the destination can. */
  readonly traceparent?: string;
}

export interface ListedObject {
  readonly name: string;
  readonly bytes: number;
}

export interface Destination {
  /** The URL without secrets, for people. */
  readonly url: string;
  /** What tells this store from another with the same URL, such as the endpoint; the URL itself when absent. */
  readonly identity?: string;
  /** True where objects must be put one after another, in their order. */
  readonly sequential?: boolean;
  /**
   * Stores the object once and checks that it arrived whole. Repeating it with equal bytes succeeds and changes nothing.
   * @throws PipelineError `foreign-object` when the name is taken by other bytes (never overwritten);
   * `destination-unreachable` / `destination-failed` (try again) or `destination-refused` (fix the config).
   */
  put(object: StoredObject, signal: AbortSignal): Promise<void>;
  /**
   * Reads an object in pieces, in order, to its true end. A piece lasts until the next is asked for.
   * @throws PipelineError `not-found`; `destination-failed` when it ends early.
   */
  get(name: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Names and sizes below a folder (`""` for all), in name order, never held whole. */
  list(folder: string, signal: AbortSignal): AsyncIterable<ListedObject>;
  /** Removes one object for ever; one that is not there is no error. Absent where single objects cannot be removed. */
  remove?(name: string, signal: AbortSignal): Promise<void>;
  /** Names of the columns that hold texts, of a table; absent for other schemes. */
  textColumns?(signal: AbortSignal): Promise<readonly string[]>;
  /** Called once after the manifest is stored: a destination that builds one file gives it its final name here. */
  finish(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Settings of a destination that are not in its URL. */
export interface DestinationOptions {
  /** The S3 endpoint, region and addressing; empty for other schemes. */
  readonly s3?: S3Options;
  /** The Azure endpoint and its credentials. */
  readonly azblob?: AzblobOptions;
  /** What goes with every request to a plain web server. */
  readonly https?: HttpsOptions;
  /** Who the SSH server must be, and who we are. */
  readonly sftp?: SftpOptions;
  /** The table that takes the rows; absent for other schemes. */
  readonly rows?: TableOptions;
  /** How long one request may take, in milliseconds. */
  readonly timeoutMillis: number;
  /** The disk of destinations that are folders; the real one where none is given. */
  readonly world?: World;
}

export interface S3Options {
  readonly endpoint?: string;
  readonly region?: string;
  /** `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`. */
  readonly pathStyle?: boolean;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly sessionToken?: string;
}

export interface AzblobOptions {
  readonly endpoint?: string;
  readonly accountKey?: string;
  /** A shared access signature: a query. */
  readonly sas?: string;
}

export interface HttpsOptions {
  /** Value of the `Authorization` header. */
  readonly authorization?: string;
  /** A query that gives access, as presigned URLs have it. */
  readonly query?: string;
}

export interface SftpOptions {
  /** `SHA256:…` of the server's key; the user's `known_hosts` where none is given. */
  readonly hostKey?: string;
  /** A private key as text. */
  readonly privateKey?: string;
  /** Of the private key, where it is locked. */
  readonly passphrase?: string;
  readonly password?: string;
}

export interface TableOptions {
  /** As SQL would name it, best with its schema; of SQLite its name as it is. */
  readonly table: string;
  /** Columns of a unique index: rows with the same key replace each other. Without it rows are appended. */
  readonly key: readonly string[];
}

/** Looks at a destination before a run: what it finds, one by one. Nothing it stores to see stays there. */
export type ProbeDestination = (url: URL, asked: ProbeOptions) => AsyncGenerator<Finding>;

export interface ProbeOptions extends DestinationOptions {
  /** The pipeline's folder, below which a run would store. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/** Opens a destination; each scheme has one such function, listed in `schemes.ts`. */
export type OpenDestination = (url: URL, options: DestinationOptions) => Promise<Destination>;
