/**
 * What differs between stores that are spoken to over HTTP: their headers, their words for what went wrong, their listings.
 * How objects are put and read without doubt is the same for all (`http-put.ts`, `http-read.ts`).
 */
import { type ErrorCode, PipelineError } from "../../errors.ts";
import { digestOfParts, partsOf, type Content } from "../durable-file.ts";
import type { StoredObject } from "./destination.ts";
import type { HttpAnswer, HttpConnection, HttpRequest } from "./http-exchange.ts";
import { type RetryPolicy, TryAgain, retryAfterMillis } from "./retry.ts";

export const errorBytesAtMost = 64 * 1024;

/** An object on its way: its digests in the spellings that requests and answers use. */
export interface Parcel {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  /** The same in base64, as stores repeat it. */
  readonly checksum: string;
  readonly request: HttpRequest;
}

/** A refusal, read to its end: the error code is empty where the server gave none. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly waitMillis: number;
}

export interface Dialect {
  /** Who is there, in messages: `the S3 endpoint`. */
  readonly called: string;
  /** What to look at when nothing is found, and when the store sends elsewhere. */
  readonly whereabouts: string;
  readonly redirected: string;
  /** Headers of a PUT beside its length, its type and its condition. */
  headersOf(object: StoredObject): Promise<Readonly<Record<string, string>>>;
  /** Headers that make a store say all it knows of an object. */
  readonly askingHeaders: Readonly<Record<string, string>>;
  /** What an answer to PUT or HEAD says of the bytes that are there. */
  claimOf(answer: HttpAnswer, parcel: Parcel): "right" | "wrong" | "none";
  /** Whether an answer to HEAD leaves no doubt; `unsure` where the bytes must be read. */
  compare(answer: HttpAnswer, parcel: Parcel): "equal" | "different" | "unsure";
  /** The code of an error, which is all of it that is ever repeated; empty when there is none. */
  codeOf(answer: HttpAnswer, body: string): string;
  /** Codes that speak of the credentials whatever their status, and of damage on the way. */
  readonly credentialCodes: ReadonlySet<string>;
  readonly damageCodes: ReadonlySet<string>;
  isTaken(refusal: Refusal): boolean;
  /** An object is missing, and not all that holds it. */
  isMissing(refusal: Refusal): boolean;
  lacksConditions(refusal: Refusal): boolean;
  /** Makes the folders of a name that are not there, where the store wants them made. */
  makeFolders?(connection: HttpConnection, name: string, signal: AbortSignal): Promise<void>;
}

/** What requests of one opened destination share. */
export interface Session {
  readonly connection: HttpConnection;
  readonly dialect: Dialect;
  readonly policy: RetryPolicy;
  /** Whether the store honours `If-None-Match`; undefined until it was seen. */
  conditional: boolean | undefined;
}

/** In base64, as stores want it. */
export const md5Of = async (content: Content): Promise<string> =>
  (await digestOfParts(partsOf(content), "md5")).toString("base64");

export async function refusalOf(dialect: Dialect, answer: HttpAnswer): Promise<Refusal> {
  const body = await answer.text(errorBytesAtMost);
  return {
    status: answer.status,
    code: dialect.codeOf(answer, body),
    waitMillis: retryAfterMillis(answer.header("retry-after")),
  };
}

/** The error for a refusal: `TryAgain` where another attempt may succeed. */
export function failureOf(dialect: Dialect, refusal: Refusal, doing: string): Error {
  const { status, code, waitMillis } = refusal;
  const shown = code === "" ? `${status}` : `${status} ${code}`;
  const error = (errorCode: ErrorCode, advice: string) =>
    new PipelineError(errorCode, `${doing} was answered with ${shown}; ${advice}`, {
      details: { status, code },
    });
  if (status === 401 || status === 403 || dialect.credentialCodes.has(code)) {
    return error("destination-refused", "check the credentials, their rights and the clock");
  }
  if (status >= 300 && status < 400) {
    return error("destination-refused", `redirects are not followed; check ${dialect.redirected}`);
  }
  if (status === 404) return error("destination-refused", `check ${dialect.whereabouts}`);
  if (status === 501) return error("destination-refused", "this store lacks what is needed");
  if (status === 429 || [500, 502, 503, 504].includes(status)) {
    return new TryAgain(error("destination-unreachable", "try again later"), waitMillis);
  }
  if (status >= 500 || status === 408 || status === 409 || dialect.damageCodes.has(code)) {
    return new TryAgain(error("destination-failed", "try again later"), waitMillis);
  }
  return error("destination-refused", "expected success");
}
