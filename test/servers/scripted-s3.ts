/**
 * A small S3-speaking server that keeps objects in memory and fails on request, for what no real store does on
 * command. It checks digests and lengths, not signatures: a real store does that (see `rgw.ts`).
 */
import { createHash } from "node:crypto";
import type { ServerResponse } from "node:http";
import { type Call, type ScriptedStore, give, md5, startScriptedStore } from "./scripted-store.ts";

export type { Call, Fault, Stored } from "./scripted-store.ts";

export interface ScriptedS3 extends ScriptedStore {
  /** Whether an answer to a PUT repeats the checksum that was sent with it. */
  repeatsChecksums: boolean;
  /** Whether objects may be deleted. */
  deletes: "allow" | "refuse";
  keysPerListing: number;
}

export async function startScriptedS3(bucket: string): Promise<ScriptedS3> {
  const own = { repeatsChecksums: false, deletes: "allow" as const, keysPerListing: 1000 };
  const store = await startScriptedStore({
    holder: bucket,
    stranger: ({ response }) => refuse(response, 404, "NoSuchBucket"),
    serve: (call, kept) => serve(state, call, kept),
  });
  const state: ScriptedS3 = Object.assign(store, own);
  return state;
}

function serve(state: ScriptedS3, call: Call, kept: Buffer): void {
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

function read(state: ScriptedS3, call: Call): void {
  const { request, response, key } = call;
  const found = state.objects.get(key);
  if (!found) return refuse(response, 404, "NoSuchKey");
  const { bytes, meta } = found;
  const etag = `"${md5(bytes, "hex")}"`;
  const wanted = request.headers["if-match"];
  if (wanted !== undefined && wanted !== etag) return refuse(response, 412, "PreconditionFailed");
  give(call, bytes, { ...meta, etag });
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

/** Answers with an S3 error. */
export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
}
