/** One S3 request, signed (AWS Signature Version 4). */
import aws4 from "aws4";
import { type HttpConnection, type HttpRequest, connectTo } from "./http-exchange.ts";
import { escapePath } from "./object-names.ts";
import type { S3Target } from "./s3-target.ts";

/** Connects lazily; every request may take `timeoutMillis` in all, or that long for each part of a streamed body. */
export const connect = (target: S3Target, timeoutMillis: number): HttpConnection =>
  connectTo({
    origin: target.origin,
    called: "the S3 endpoint",
    timeoutMillis,
    address: (request) => signed(target, request),
  });

export function signed(target: S3Target, request: HttpRequest) {
  const key = request.name === undefined ? "" : `/${escapePath(target.keyPrefix + request.name)}`;
  // The bucket itself has no path of its own where its name stands in the host's.
  const bare = `${target.basePath}${key}` || "/";
  const query = request.query ? `?${new URLSearchParams(request.query).toString()}` : "";
  const headers: Record<string, string> = { ...request.headers, host: target.origin.host };
  const { path = "/", headers: signedHeaders = {} } = aws4.sign(
    {
      service: "s3",
      region: target.region,
      method: request.method,
      path: `${bare}${query}`,
      headers,
    },
    target.credentials,
  );
  return { path, headers: signedHeaders };
}
