/**
 * A small web server that takes PUT, keeps objects in memory and fails on request; with folders as WebDAV has them, that
 * must be made first, or without, as a receiver that knows nothing but objects.
 */
import { createHash } from "node:crypto";
import { type Call, type ScriptedStore, give, startScriptedStore } from "./scripted-store.ts";

export interface ScriptedWeb extends ScriptedStore {
  /** Whether folders are made, asked for and listed (WebDAV); else names are only names. */
  hasFolders: boolean;
  readonly folders: Set<string>;
  /** Whether it tells the digest of what it has. */
  tellsDigests: boolean;
  /** Whether HEAD is understood. */
  hasHead: boolean;
}

export async function startScriptedWeb(top: string): Promise<ScriptedWeb> {
  const store = await startScriptedStore({
    holder: top,
    stranger: ({ response }) => void response.writeHead(404).end(),
    serve: (call, kept) => serve(state, call, kept),
  });
  const own = { hasFolders: true, folders: new Set([""]), tellsDigests: true, hasHead: true };
  const state: ScriptedWeb = Object.assign(store, own);
  return state;
}

const folderOf = (key: string) =>
  key.slice(0, Math.max(0, key.replace(/\/$/, "").lastIndexOf("/") + 1));

function serve(state: ScriptedWeb, call: Call, kept: Buffer): void {
  const { method, key, response } = call;
  const answer = (status: number) => void response.writeHead(status).end();
  if (method === "PUT") return store(state, call, kept);
  if (method === "DELETE") return answer(state.objects.delete(key) ? 204 : 404);
  if (method === "MKCOL" && state.hasFolders) return answer(makeFolder(state, key));
  if (method === "PROPFIND" && state.hasFolders) return list(state, call);
  const isAsked = method === "GET" || (method === "HEAD" && state.hasHead);
  if (!isAsked) return answer(405);
  const found = state.objects.get(key);
  if (!found) return answer(404);
  const etag = tagOf(found.bytes);
  const wanted = call.request.headers["if-match"];
  if (wanted !== undefined && wanted !== etag) return answer(412);
  give(call, found.bytes, { etag, ...digestOf(state, found.bytes) });
}

function store(state: ScriptedWeb, { request, response, key, body }: Call, kept: Buffer): void {
  const conditional = request.headers["if-none-match"] === "*";
  if (conditional && state.conditions === "refuse") return void response.writeHead(501).end();
  const isTaken = state.objects.has(key);
  if (conditional && state.conditions === "honour" && isTaken)
    return void response.writeHead(412).end();
  if (state.hasFolders && !state.folders.has(folderOf(key)))
    return void response.writeHead(409).end();
  if (state.digests === "honour" && request.headers["content-digest"] !== fieldOf(body))
    return void response.writeHead(400).end();
  state.objects.set(key, { bytes: kept, meta: {} });
  response.writeHead(isTaken ? 204 : 201, { etag: tagOf(body), ...digestOf(state, body) }).end();
}

function makeFolder(state: ScriptedWeb, key: string): number {
  const name = key === "" || key.endsWith("/") ? key : `${key}/`;
  if (state.folders.has(name)) return 405;
  if (!state.folders.has(folderOf(name))) return 409;
  state.folders.add(name);
  return 201;
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes);
const tagOf = (bytes: Buffer) => `"${sha256(bytes).digest("hex").slice(0, 16)}"`;
const fieldOf = (bytes: Buffer) => `sha-256=:${sha256(bytes).digest("base64")}:`;
const digestOf = ({ tellsDigests }: ScriptedWeb, bytes: Buffer): Record<string, string> =>
  tellsDigests ? { "repr-digest": fieldOf(bytes) } : {};

function list(state: ScriptedWeb, { key, request, response }: Call): void {
  if (!state.folders.has(key)) return void response.writeHead(404).end();
  const isBelow = (name: string) => name !== key && folderOf(name) === key;
  const path = (request.url ?? "").replace(/\?.*/, "");
  const href = (name: string) =>
    path + name.slice(key.length).split("/").map(encodeURIComponent).join("/");
  const folders = [...state.folders].filter(isBelow).map((name) => folderXml(href(name)));
  const files = [...state.objects.keys()]
    .filter(isBelow)
    .map((name) => fileXml(href(name), state.objects.get(name)!.bytes.length));
  response.writeHead(207, { "content-type": "application/xml" });
  response.end(listingXml([folderXml(path), ...files, ...folders].join("")));
}

export const listingXml = (content: string) =>
  `<?xml version="1.0"?>\n<D:multistatus xmlns:D="DAV:">${content}</D:multistatus>\n`;

const entryXml = (href: string, properties: string) =>
  `<D:response><D:href>${href.replaceAll("&", "&amp;")}</D:href><D:propstat><D:prop>${properties}</D:prop>` +
  `<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`;

export const fileXml = (href: string, bytes: number) =>
  entryXml(href, `<D:resourcetype/><D:getcontentlength>${bytes}</D:getcontentlength>`);

export const folderXml = (href: string) =>
  entryXml(href, "<D:resourcetype><D:collection/></D:resourcetype>");
