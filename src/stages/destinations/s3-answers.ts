/**
 * What S3 answers mean: failures by status and error code, and listings out of their XML. Only the code of an error
 * body is ever repeated; the rest may hold names, host ids or signatures.
 * Source: Amazon S3 API Reference, "Error responses" and "ListObjectsV2".
 */
import { type ErrorCode, PipelineError } from "../../errors.ts";
import { TryAgain, retryAfterMillis } from "./retry.ts";
import type { S3Answer } from "./s3-request.ts";

export const errorBytesAtMost = 64 * 1024;

/** A refusal, read to its end: the S3 error code is empty where the server gave none. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly waitMillis: number;
}

export async function refusalOf(answer: S3Answer): Promise<Refusal> {
  const body = await answer.text(errorBytesAtMost);
  return {
    status: answer.status,
    code: errorCodeOf(body),
    waitMillis: retryAfterMillis(answer.header("retry-after")),
  };
}

/** The `<Code>` of an error body; empty when there is none worth repeating. */
export function errorCodeOf(body: string): string {
  return /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(body)?.[1] ?? "";
}

// Some 400s speak of the transfer, not of the request.
const damagedInTransit = new Set([
  "BadDigest",
  "IncompleteBody",
  "RequestTimeout",
  "XAmzContentChecksumMismatch",
  "XAmzContentSHA256Mismatch",
]);

// Amazon S3 says 400 to some of them.
const ofCredentials = new Set([
  "ExpiredToken",
  "InvalidToken",
  "RequestExpired",
  "RequestTimeTooSkewed",
  "TokenRefreshRequired",
]);

/** The error for a refusal: `TryAgain` where another attempt may succeed. */
export function failureOf(refusal: Refusal, doing: string): Error {
  const { status, code, waitMillis } = refusal;
  const shown = code === "" ? `${status}` : `${status} ${code}`;
  const error = (errorCode: ErrorCode, advice: string) =>
    new PipelineError(errorCode, `${doing} was answered with ${shown}; ${advice}`, {
      details: { status, code },
    });
  if (status === 401 || status === 403 || ofCredentials.has(code)) {
    return error("destination-refused", "check the credentials, their rights and the clock");
  }
  if (status >= 300 && status < 400) {
    return error("destination-refused", "redirects are not followed; check region and endpoint");
  }
  if (status === 404) return error("destination-refused", "check the bucket and the endpoint");
  if (status === 501) return error("destination-refused", "this store lacks what is needed");
  if (status === 429 || [500, 502, 503, 504].includes(status)) {
    return new TryAgain(error("destination-unreachable", "try again later"), waitMillis);
  }
  if (status >= 500 || status === 408 || status === 409 || damagedInTransit.has(code)) {
    return new TryAgain(error("destination-failed", "try again later"), waitMillis);
  }
  return error("destination-refused", "expected success");
}

export interface Listing {
  readonly objects: readonly { readonly key: string; readonly bytes: number }[];
  /** Where the next page starts; undefined on the last. */
  readonly next: string | undefined;
}

/**
 * Reads one ListObjectsV2 answer.
 * @throws PipelineError `destination-failed` for anything but a whole listing.
 */
export function listingOf(xml: string): Listing {
  if (!/<ListBucketResult[\s>]/.test(xml) || !xml.trimEnd().endsWith("</ListBucketResult>")) {
    throw unreadable();
  }
  const escaped = element(xml, "EncodingType") === "url";
  const objects = contentsOf(xml).map((content) => {
    const key = required(element(content, "Key"));
    const size = required(element(content, "Size"));
    if (!/^\d{1,15}$/.test(size)) throw unreadable();
    return { key: escaped ? unescapeKey(key) : key, bytes: Number(size) };
  });
  const truncated = required(element(xml, "IsTruncated"));
  if (truncated === "false") return { objects, next: undefined };
  if (truncated !== "true") throw unreadable();
  return { objects, next: required(element(xml, "NextContinuationToken")) };
}

/** By hand: a pattern would look for the end of each one that has none, through all the rest. */
function contentsOf(xml: string): string[] {
  const [open, close] = ["<Contents>", "</Contents>"];
  const contents: string[] = [];
  for (let at = xml.indexOf(open); at >= 0;) {
    const end = xml.indexOf(close, at);
    if (end < 0) throw unreadable();
    contents.push(xml.slice(at + open.length, end));
    at = xml.indexOf(open, end);
  }
  return contents;
}

function element(xml: string, name: string): string | undefined {
  const content = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return content === undefined ? undefined : decodeEntities(content);
}

function required(value: string | undefined): string {
  if (value === undefined || value === "") throw unreadable();
  return value;
}

const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeEntities(text: string): string {
  return text.replaceAll(/&([^;&]*);?/g, (_, name: string) => {
    const digits = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(name);
    const point = digits ? Number.parseInt(digits[1] ?? digits[2] ?? "", digits[1] ? 16 : 10) : -1;
    const char = point >= 0 && point <= 0x10ffff ? String.fromCodePoint(point) : entities[name];
    if (char === undefined) throw unreadable();
    return char;
  });
}

/** `encoding-type=url` is the form encoding: a space may come as `+`. */
function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    throw unreadable();
  }
}

function unreadable(): PipelineError {
  return new PipelineError(
    "destination-failed",
    "the S3 endpoint sent a listing that cannot be read; expected a ListObjectsV2 answer",
  );
}
