/**
 * A small server of Azure's blob protocol that keeps blobs in memory and fails on request. It checks digests and lengths,
 * not signatures: Azurite does that (see `azurite.ts`).
 */
import type { ServerResponse } from "node:http";
import { type Call, type ScriptedStore, give, md5, startScriptedStore } from "./scripted-store.ts";

export interface ScriptedAzblob extends ScriptedStore {
  keysPerListing: number;
}

export async function startScriptedAzblob(container: string): Promise<ScriptedAzblob> {
  const store = await startScriptedStore({
    holder: container,
    stranger: ({ response }) => refuse(response, 404, "ContainerNotFound"),
    serve: (call, kept) => serve(state, call, kept),
  });
  const state: ScriptedAzblob = Object.assign(store, { keysPerListing: 1000 });
  return state;
}

function serve(state: ScriptedAzblob, call: Call, kept: Buffer): void {
  const { method, key, response } = call;
  if (method === "PUT") return store(state, call, kept);
  if (method === "DELETE")
    return void response.writeHead(state.objects.delete(key) ? 202 : 404).end();
  if (key === "") return list(state, call);
  const found = state.objects.get(key);
  if (!found) return refuse(response, 404, "BlobNotFound");
  const etag = tagOf(found.bytes);
  const wanted = call.request.headers["if-match"];
  if (wanted !== undefined && wanted !== etag) return refuse(response, 412, "ConditionNotMet");
  give(call, found.bytes, { ...found.meta, etag, "content-md5": md5(found.bytes, "base64") });
}

function store(state: ScriptedAzblob, call: Call, kept: Buffer): void {
  const { request, response, key, body } = call;
  if (request.headers["if-none-match"] === "*" && state.objects.has(key))
    return refuse(response, 409, "BlobAlreadyExists");
  if (md5(body, "base64") !== request.headers["content-md5"])
    return refuse(response, 400, "Md5Mismatch");
  keep(state, call, kept);
  response.writeHead(201, { etag: tagOf(body), "content-md5": md5(body, "base64") }).end();
}

/** Stores bytes under the call's key with the call's metadata. */
export function keep(state: ScriptedStore, call: Call, bytes: Buffer): void {
  const headers = Object.entries(call.request.headers);
  const meta = headers.filter(([name]) => name.startsWith("x-ms-meta-"));
  const texts = Object.fromEntries(meta.map(([name, value]) => [name, String(value)]));
  state.objects.set(call.key, { bytes, meta: texts });
}

/** Azure's tags speak of the time of the last change, not of the bytes. */
const tagOf = (bytes: Buffer) => `"0x8${md5(bytes, "hex").slice(0, 14).toUpperCase()}"`;

function list(state: ScriptedAzblob, { query, response }: Call): void {
  const prefix = query.get("prefix") ?? "";
  const after = query.get("marker") ?? "";
  const keys = [...state.objects.keys()]
    .filter((key) => key.startsWith(prefix) && key > after)
    .sort();
  const page = keys.slice(0, state.keysPerListing);
  const blobs = page.map((key) => blobXml(escape(key), state.objects.get(key)!.bytes.length));
  const next = keys.length > page.length ? escape(page.at(-1)!) : "";
  response.end(listingXml(blobs.join(""), next));
}

export const blobXml = (name: string, bytes: number) =>
  `<Blob><Name>${name}</Name><Properties><Content-Length>${bytes}</Content-Length></Properties></Blob>`;

export const listingXml = (blobs: string, next: string) =>
  `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/">` +
  `<Blobs>${blobs}</Blobs>${next === "" ? "<NextMarker />" : `<NextMarker>${next}</NextMarker>`}</EnumerationResults>`;

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Answers with an error of the service. */
export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml", "x-ms-error-code": code });
  response.end(
    `\uFEFF<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`,
  );
}
