/** What is S3's own in putting and reading: digests, ETags, error codes and listings. */
import { md5Of, type Dialect } from "./http-dialect.ts";
import { type KeyLister, keysPerListing } from "./key-listing.ts";
import { errorCodeOf, listingOf } from "./s3-answers.ts";

export const s3Dialect: Dialect = {
  called: "the S3 endpoint",
  whereabouts: "the bucket and the endpoint",
  redirected: "region and endpoint",
  async headersOf({ bytes, sha256, traceparent }) {
    const digest = Buffer.from(sha256);
    return {
      "content-md5": await md5Of(bytes),
      "x-amz-checksum-sha256": digest.toString("base64"),
      "x-amz-content-sha256": digest.toString("hex"),
      "x-amz-meta-sha256": digest.toString("hex"),
      ...(traceparent === undefined ? {} : { "x-amz-meta-traceparent": traceparent }),
    };
  },
  askingHeaders: { "x-amz-checksum-mode": "ENABLED" },
  claimOf,
  // Claims (length, digest, ETag) suffice when they agree.
  compare(answer, parcel) {
    const kept = answer.header("x-amz-meta-sha256")?.toLowerCase();
    if (kept !== undefined && kept !== parcel.sha256) return "different";
    return kept === parcel.sha256 && claimOf(answer, parcel) === "right" ? "equal" : "unsure";
  },
  codeOf: (_, body) => errorCodeOf(body),
  // Amazon S3 says 400 to some of them.
  credentialCodes: new Set([
    "ExpiredToken",
    "InvalidToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
  ]),
  // Some 400s speak of the transfer, not of the request.
  damageCodes: new Set([
    "BadDigest",
    "IncompleteBody",
    "RequestTimeout",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
  ]),
  isTaken: ({ status }) => status === 412,
  isMissing: ({ status, code }) => status === 404 && code !== "NoSuchBucket",
  lacksConditions: ({ status, code }) =>
    status === 501 || (status === 400 && code === "NotImplemented"),
};

/**
 * What a store says of the bytes it has. An ETag is their MD5 except under KMS or customer keys, or where a store makes
 * its own; stores that know checksums repeat the one they were sent.
 */
function claimOf(...[answer, { request, checksum }]: Parameters<Dialect["claimOf"]>) {
  const tag = /^"?([0-9a-f]{32})"?$/i.exec(answer.header("etag") ?? "")?.[1];
  const encrypted =
    answer.header("x-amz-server-side-encryption")?.startsWith("aws:kms") ||
    answer.header("x-amz-server-side-encryption-customer-algorithm") !== undefined;
  const repeated = answer.header("x-amz-checksum-sha256");
  if (repeated !== undefined && repeated !== checksum) return "wrong";
  const md5 = Buffer.from(request.headers?.["content-md5"] ?? "", "base64").toString("hex");
  if (tag !== undefined && !encrypted) return tag.toLowerCase() === md5 ? "right" : "wrong";
  return repeated === undefined ? "none" : "right";
}

export const s3Lister: KeyLister = {
  queryOf: (prefix, next) => ({
    "list-type": "2",
    "encoding-type": "url",
    "max-keys": String(keysPerListing),
    prefix,
    ...(next === undefined ? {} : { "continuation-token": next }),
  }),
  listingOf,
};
