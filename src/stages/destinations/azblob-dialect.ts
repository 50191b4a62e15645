/**
 * What is Azure Blob Storage's own in putting and reading: digests, error codes and listings.
 * Source: Azure Storage REST API, "Put Blob", "Get Blob Properties", "List Blobs", "Common REST API error codes".
 */
import { PipelineError } from "../../errors.ts";
import { called } from "./azblob-request.ts";
import { md5Of, type Dialect } from "./http-dialect.ts";
import { type KeyLister, type Listing, keysPerListing } from "./key-listing.ts";
import { elementsOf, textOf } from "./xml-text.ts";

export const azblobDialect: Dialect = {
  called,
  whereabouts: "the account and the container",
  redirected: "the endpoint",
  async headersOf({ bytes, sha256, traceparent }) {
    return {
      // What arrives is compared with this one, and kept beside the blob.
      "content-md5": await md5Of(bytes),
      "x-ms-blob-type": "BlockBlob",
      "x-ms-meta-sha256": Buffer.from(sha256).toString("hex"),
      ...(traceparent === undefined ? {} : { "x-ms-meta-traceparent": traceparent }),
    };
  },
  askingHeaders: {},
  claimOf,
  compare(answer, parcel) {
    const kept = answer.header("x-ms-meta-sha256")?.toLowerCase();
    if (kept !== undefined && kept !== parcel.sha256) return "different";
    return kept === parcel.sha256 && claimOf(answer, parcel) === "right" ? "equal" : "unsure";
  },
  codeOf: (answer, body) =>
    /^[A-Za-z0-9]{1,64}$/.exec(answer.header("x-ms-error-code") ?? "")?.[0] ??
    /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(body)?.[1] ??
    "",
  credentialCodes: new Set(["InvalidAuthenticationInfo", "AuthenticationFailed"]),
  damageCodes: new Set(["Md5Mismatch", "Crc64Mismatch", "OperationTimedOut"]),
  // A signature that may create but not overwrite is told so as a matter of rights.
  isTaken: ({ status, code }) =>
    status === 412 || code === "BlobAlreadyExists" || code === "UnauthorizedBlobOverwrite",
  isMissing: ({ status, code }) => status === 404 && code !== "ContainerNotFound",
  // Every Azure endpoint has them.
  lacksConditions: () => false,
};

/** The MD5 of what the service took; stored beside the blob, and told again with its properties. */
function claimOf(...[answer, { request }]: Parameters<Dialect["claimOf"]>) {
  const md5 = answer.header("content-md5");
  if (md5 === undefined) return "none";
  return md5 === request.headers?.["content-md5"] ? "right" : "wrong";
}

export const azblobLister: KeyLister = {
  queryOf: (prefix, next) => ({
    comp: "list",
    maxresults: String(keysPerListing),
    prefix,
    restype: "container",
    ...(next === undefined ? {} : { marker: next }),
  }),
  listingOf,
};

function listingOf(xml: string): Listing {
  if (!/<EnumerationResults[\s>]/.test(xml) || !xml.trimEnd().endsWith("</EnumerationResults>"))
    throw unreadable();
  const blobs = elementsOf(xml, "Blob");
  const next = textOf(xml, "NextMarker") ?? (/<NextMarker\s*\/>/.test(xml) ? "" : undefined);
  if (!blobs || next === undefined) throw unreadable();
  return { objects: blobs.map(blobOf), next: next === "" ? undefined : next };
}

function blobOf(xml: string): Listing["objects"][number] {
  const key = textOf(xml, "Name");
  const size = textOf(xml, "Content-Length");
  if (key === undefined || key === "" || !/^\d{1,15}$/.test(size ?? "")) throw unreadable();
  const isEscaped = /<Name\s+Encoded="true"/i.test(xml);
  return { key: isEscaped ? unescapeKey(key) : key, bytes: Number(size) };
}

function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    throw unreadable();
  }
}

function unreadable(): PipelineError {
  return new PipelineError(
    "destination-failed",
    `${called} sent a listing that cannot be read; expected a List Blobs answer`,
  );
}
