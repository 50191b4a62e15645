/**
 * What S3 answers mean: the code of an error, and listings out of their XML. Only the code of an error
 * body is ever repeated; the rest may hold names, host ids or signatures.
 * Source: Amazon S3 API Reference, "Error responses" and "ListObjectsV2".
 */
import { PipelineError } from "../../errors.ts";
import type { Listing } from "./key-listing.ts";
import { elementsOf, textOf } from "./xml-text.ts";

/** The `<Code>` of an error body; empty when there is none worth repeating. */
export function errorCodeOf(body: string): string {
  return /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(body)?.[1] ?? "";
}

/**
 * Reads one ListObjectsV2 answer.
 * @throws PipelineError `destination-failed` for anything but a whole listing.
 */
export function listingOf(xml: string): Listing {
  if (!/<ListBucketResult[\s>]/.test(xml) || !xml.trimEnd().endsWith("</ListBucketResult>")) {
    throw unreadable();
  }
  const escaped = textOf(xml, "EncodingType") === "url";
  const objects = required(elementsOf(xml, "Contents")).map((content) => {
    const key = required(textOf(content, "Key"));
    const size = required(textOf(content, "Size"));
    if (!/^\d{1,15}$/.test(size)) throw unreadable();
    return { key: escaped ? unescapeKey(key) : key, bytes: Number(size) };
  });
  const truncated = required(textOf(xml, "IsTruncated"));
  if (truncated === "false") return { objects, next: undefined };
  if (truncated !== "true") throw unreadable();
  return { objects, next: required(textOf(xml, "NextContinuationToken")) };
}

function required<Value extends string | string[]>(value: Value | undefined): Value {
  if (value === undefined || value === "") throw unreadable();
  return value;
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
