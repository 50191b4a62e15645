/**
 * One Azure Blob request, signed with the account's key ("Authorize with Shared Key", Azure Storage REST) or carrying a
 * shared access signature in its query.
 */
import { createHmac } from "node:crypto";
import type { AzblobTarget } from "./azblob-target.ts";
import { type HttpConnection, type HttpRequest, connectTo } from "./http-exchange.ts";
import { escapePath } from "./object-names.ts";

export const called = "the Azure endpoint";

/** From here on a Put Blob takes 5000 MiB in one piece, and listings escape what XML cannot hold. */
const serviceVersion = "2021-12-02";

/** Connects lazily; every request may take `timeoutMillis` in all, or that long for each part of a streamed body. */
export const connect = (target: AzblobTarget, timeoutMillis: number): HttpConnection =>
  connectTo({
    origin: target.origin,
    called,
    timeoutMillis,
    address: (request) => addressOf(target, request, new Date()),
  });

export function addressOf(target: AzblobTarget, request: HttpRequest, now: Date) {
  const { basePath, keyPrefix, credentials } = target;
  const name = request.name === undefined ? "" : `/${escapePath(keyPrefix + request.name)}`;
  const path = `${basePath}${name}`;
  const headers: Record<string, string> = {
    ...request.headers,
    "x-ms-date": now.toUTCString(),
    "x-ms-version": serviceVersion,
  };
  // A plus is a space in forms alone; in a URL it is a plus, and who checks a signature may take it for one.
  const query = new URLSearchParams(request.query).toString().replaceAll("+", "%20");
  if ("sas" in credentials) {
    const both = [query, credentials.sas].filter((part) => part !== "").join("&");
    return { path: `${path}?${both}`, headers };
  }
  const text = textToSign(target.account, { ...request, path, headers });
  const signature = createHmac("sha256", credentials.key).update(text).digest("base64");
  headers.authorization = `SharedKey ${target.account}:${signature}`;
  return { path: query === "" ? path : `${path}?${query}`, headers };
}

/** Headers that are signed by their place; the date goes as `x-ms-date`. */
const placed = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
];

interface Signable {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
}

function textToSign(account: string, { method, path, query = {}, headers }: Signable): string {
  const values = placed.map((name) => headers[name] ?? "");
  // An empty body is signed as no length at all.
  const lengthAt = placed.indexOf("content-length");
  if (values[lengthAt] === "0") values[lengthAt] = "";
  const named = sortedPairs(headers).filter(([name]) => name.startsWith("x-ms-"));
  return [
    method,
    ...values,
    ...named.map(([name, value]) => `${name}:${value}`),
    `/${account}${path}`,
    ...sortedPairs(query).map(([name, value]) => `${name}:${value}`),
  ].join("\n");
}

const sortedPairs = (pairs: Readonly<Record<string, string>>) =>
  Object.entries(pairs).toSorted(([one], [other]) => (one < other ? -1 : 1));
