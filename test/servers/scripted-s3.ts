/**
 * A small S3-speaking server that keeps objects in memory and fails on request, for what no real store does on
 * command. It checks digests and lengths, not signatures: a real store does that (see `rgw.ts`).
 */
import { createHash } from "node:crypto";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";

export interface Stored {
  readonly bytes: Buffer;
  readonly meta: Readonly<Record<string, string>>;
}

export interface Call {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly body: Buffer;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Answers as the healthy server would; with a body of the script's own it keeps that one and tells the other's ETag. */
  serve(kept?: Buffer): void;
}

/** What happens instead of a healthy answer, for the next request of that method. */
export interface Fault {
  readonly on: "GET" | "HEAD" | "PUT" | "DELETE";
  /** Before the request's body is read: the body of the call is empty then. */
  readonly early?: boolean;
  readonly play: (call: Call) => void;
}

export interface ScriptedS3 {
  readonly endpoint: string;
  readonly objects: Map<string, Stored>;
  /** Every request so far: `PUT key` in order of arrival. */
  readonly requests: string[];
  readonly headers: Record<string, unknown>[];
  /** Faults to play, each once, in order. */
  readonly faults: Fault[];
  /** Says what happens to a request that no fault was meant for; asked before its body is read, and again behind it. */
  script: ((call: Call, early: boolean) => Fault["play"] | undefined) | undefined;
  /** Whether names that differ in case alone are one. */
  foldsCase: boolean;
  /** Whether an answer to a PUT repeats the checksum that was sent with it. */
  repeatsChecksums: boolean;
  /** Whether `If-None-Match` is honoured, ignored as if it were not there, or refused with 501. */
  conditions: "honour" | "ignore" | "refuse";
  /** Whether bytes that do not match their digests are refused. */
  digests: "honour" | "ignore";
  /** Whether objects may be deleted. */
  deletes: "allow" | "refuse";
  keysPerListing: number;
  stop(): Promise<void>;
}

export async function startScriptedS3(bucket: string): Promise<ScriptedS3> {
  const server = createServer((request, response) => void answer(request, response));
  // A connection that ends idle would be a fault that no script played.
  server.keepAliveTimeout = 600_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const state: ScriptedS3 = {
    endpoint: `http://127.0.0.1:${port}`,
    objects: new Map(),
    requests: [],
    headers: [],
    faults: [],
    script: undefined,
    foldsCase: false,
    repeatsChecksums: false,
    conditions: "honour",
    digests: "honour",
    deletes: "allow",
    keysPerListing: 1000,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  const playing = (call: Call, early: boolean): Fault["play"] | undefined => {
    const fits = (fault: Fault) => fault.on === call.method && (fault.early ?? false) === early;
    const index = state.faults.findIndex(fits);
    return index === -1 ? state.script?.(call, early) : state.faults.splice(index, 1)[0]!.play;
  };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const asked = callOf(state, request, response);
    const early = playing(asked, true);
    if (early) {
      state.requests.push(`${asked.method} ${asked.key}`);
      return early(asked);
    }
    const body = await receive(request);
    if (body === undefined) return;
    const [, first] = (request.url ?? "").split(/[/?]/);
    if (first !== bucket) return refuse(response, 404, "NoSuchBucket");
    const call: Call = { ...asked, body, serve: (kept) => serve(state, call, kept) };
    state.requests.push(`${call.method} ${call.key}`);
    state.headers.push(request.headers);
    const fault = playing(call, false);
    if (fault) fault(call);
    else call.serve();
  };
  return state;
}

function callOf(state: ScriptedS3, request: IncomingMessage, response: ServerResponse): Call {
  const url = new URL(request.url ?? "/", "http://server");
  const [, , ...rest] = url.pathname.split("/").map(decodeURIComponent);
  const key = state.foldsCase ? rest.join("/").toLowerCase() : rest.join("/");
  const { method = "" } = request;
  const body = Buffer.alloc(0);
  return { method, key, query: url.searchParams, body, request, response, serve() {} };
}

/** The body; undefined when the client went away. */
async function receive(request: IncomingMessage): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  } catch {
    return undefined;
  }
  return Buffer.concat(pieces);
}

function serve(state: ScriptedS3, call: Call, kept = call.body): void {
  if (call.method === "PUT") store(state, call, kept);
  else if (call.method === "DELETE") remove(state, call);
  else if (call.key === "") listKeys(state, call);
  else read(state, call);
}

function store(state: ScriptedS3, call: Call, kept: Buffer): void {
  const { request, response, key, body } = call;
  const header = (name: string) => request.headers[name]?.toString() ?? "";
  const conditional = header("if-none-match") === "*";
  if (conditional && state.conditions === "refuse") return refuse(response, 501, "NotImplemented");
  if (conditional && state.conditions === "honour" && state.objects.has(key)) {
    return refuse(response, 412, "PreconditionFailed");
  }
  const sha256 = createHash("sha256").update(body);
  const digests = { hex: header("x-amz-content-sha256"), base64: header("x-amz-checksum-sha256") };
  const checks = state.digests === "honour";
  if (checks && md5(body, "base64") !== header("content-md5"))
    return refuse(response, 400, "BadDigest");
  if (
    checks &&
    (sha256.copy().digest("hex") !== digests.hex || sha256.digest("base64") !== digests.base64)
  ) {
    return refuse(response, 400, "XAmzContentSHA256Mismatch");
  }
  keep(state, call, kept);
  const repeated = state.repeatsChecksums ? { "x-amz-checksum-sha256": digests.base64 } : {};
  response.writeHead(200, { etag: `"${md5(body, "hex")}"`, ...repeated }).end();
}

function remove(state: ScriptedS3, { response, key }: Call): void {
  if (state.deletes === "refuse") return refuse(response, 403, "AccessDenied");
  state.objects.delete(key);
  response.writeHead(204).end();
}

/** Stores bytes under the call's key with the call's metadata. */
export function keep(state: ScriptedS3, call: Call, bytes: Buffer): void {
  const meta = Object.entries(call.request.headers).filter(([name]) =>
    name.startsWith("x-amz-meta-"),
  );
  const texts = Object.fromEntries(meta.map(([name, value]) => [name, String(value)]));
  state.objects.set(call.key, { bytes, meta: texts });
}

function read(state: ScriptedS3, { request, response, key }: Call): void {
  const found = state.objects.get(key);
  if (!found) return refuse(response, 404, "NoSuchKey");
  const { bytes, meta } = found;
  const etag = `"${md5(bytes, "hex")}"`;
  const wanted = request.headers["if-match"];
  if (wanted !== undefined && wanted !== etag) return refuse(response, 412, "PreconditionFailed");
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const range =
    from > 0 ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
  const length = { "content-length": bytes.length - from };
  response.writeHead(from > 0 ? 206 : 200, { ...meta, ...range, etag, ...length });
  response.end(request.method === "HEAD" ? undefined : bytes.subarray(from));
}

function listKeys(state: ScriptedS3, { query, response }: Call): void {
  const prefix = query.get("prefix") ?? "";
  const after = query.get("continuation-token") ?? "";
  const keys = [...state.objects.keys()]
    .filter((key) => key.startsWith(prefix) && key > after)
    .sort();
  const page = keys.slice(0, state.keysPerListing);
  const contents = page.map((key) => {
    const bytes = state.objects.get(key)?.bytes.length;
    return `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${bytes}</Size></Contents>`;
  });
  const more = keys.length > page.length;
  const token = more ? `<NextContinuationToken>${escape(page.at(-1))}</NextContinuationToken>` : "";
  response.end(
    `<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType>` +
      `<IsTruncated>${more}</IsTruncated>${contents.join("")}${token}</ListBucketResult>`,
  );
}

function escape(text = ""): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function md5(bytes: Buffer, encoding: "base64" | "hex"): string {
  return createHash("md5").update(bytes).digest(encoding);
}

/** Answers with an S3 error. */
export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
}
