/**
 * The bulk export of a FHIR server, written from its specification (http://hl7.org/fhir/uv/bulkdata/export.html):
 * kick-off, status with progress, manifest, files with strong ETags and ranges, DELETE.
 */
import type { ServerResponse } from "node:http";
import { type Interceptor, send, sendOutcome, type SeenRequest } from "./fhir.ts";

export interface BulkOutput {
  readonly type: string;
  readonly lines: readonly string[];
  /** What the manifest says; nothing when null. */
  readonly count?: number | null;
}

export interface BulkOptions {
  readonly output: readonly BulkOutput[];
  readonly deleted?: readonly BulkOutput[];
  readonly error?: readonly BulkOutput[];
  /** How often the status is asked for before the manifest is there. */
  readonly polls?: number;
  readonly etag?: (path: string) => string | undefined;
  /** Bytes of a file that are sent before the connection breaks, by the file's path and the attempt. */
  readonly breakAfter?: (path: string, attempt: number) => number | undefined;
  readonly requiresAccessToken?: boolean;
  /** Where files lie, when not here. */
  readonly filesAt?: string;
}

export interface Bulk {
  readonly intercept: Interceptor;
  readonly kickOffs: readonly URL[];
  readonly removed: readonly string[];
  /** Requests for files, with their ranges. */
  readonly reads: readonly string[];
}

export function createBulk(options: BulkOptions): Bulk {
  const kickOffs: URL[] = [];
  const removed: string[] = [];
  const reads: string[] = [];
  const files = new Map<string, string>();
  const attempts = new Map<string, number>();
  let polls = options.polls ?? 0;

  const list = (kind: string, outputs: readonly BulkOutput[] = [], origin: string) =>
    outputs.map(({ type, lines, count = lines.length }, at) => {
      const path = `/files/${kind}-${at}.ndjson`;
      files.set(path, lines.map((line) => `${line}\n`).join(""));
      return { type, url: `${options.filesAt ?? origin}${path}`, ...(count !== null && { count }) };
    });

  const status = (response: ServerResponse, { url }: SeenRequest) => {
    if (removed.includes(url.pathname)) return sendOutcome(response, 404, "not-found");
    if (polls-- > 0) {
      response.writeHead(202, { "x-progress": "50% of secret patients", "retry-after": "0" });
      return void response.end();
    }
    const { origin } = url;
    const manifest = {
      transactionTime: "2026-01-02T03:04:05.678Z",
      request: kickOffs[0]?.href,
      requiresAccessToken: options.requiresAccessToken ?? true,
      output: list("output", options.output, origin),
      deleted: list("deleted", options.deleted, origin),
      error: list("error", options.error, origin),
    };
    send(response, 200, JSON.stringify(manifest), { "content-type": "application/json" });
  };

  const file = (response: ServerResponse, { url, headers }: SeenRequest) => {
    const path = url.pathname;
    const attempt = (attempts.get(path) ?? 0) + 1;
    attempts.set(path, attempt);
    reads.push(`${path} ${headers.range ?? "whole"}`);
    const bytes = Buffer.from(files.get(path) ?? "");
    const etag = (options.etag ?? (() => `"v1"`))(path);
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
    const isRest = headers.range !== undefined && headers["if-range"] === etag;
    const rest = isRest ? bytes.subarray(from) : bytes;
    response.writeHead(isRest ? 206 : 200, {
      "content-type": "application/fhir+ndjson",
      "content-length": rest.length,
      ...(etag !== undefined && { etag }),
      ...(isRest && { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    });
    const breaksAt = options.breakAfter?.(path, attempt);
    if (breaksAt === undefined) response.end(rest);
    else response.write(rest.subarray(0, breaksAt), () => response.destroy());
  };

  return {
    kickOffs,
    removed,
    reads,
    intercept(request, response) {
      const { method, url, headers } = request;
      if (url.pathname.endsWith("$export")) {
        if (headers.prefer !== "respond-async")
          return (sendOutcome(response, 400, "invalid"), true);
        kickOffs.push(url);
        response.writeHead(202, { "content-location": `${url.origin}/status/${kickOffs.length}` });
        response.end();
      } else if (url.pathname.startsWith("/status/")) {
        if (method !== "DELETE") status(response, request);
        else {
          removed.push(url.pathname);
          response.writeHead(202).end();
        }
      } else if (url.pathname.startsWith("/files/")) file(response, request);
      else return false;
      return true;
    },
  };
}
