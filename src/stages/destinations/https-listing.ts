/**
 * Listings of web servers. One that speaks WebDAV is asked for each folder (PROPFIND, RFC 4918); any other has no
 * listing, and what a run's SHA256SUMS names is asked for one by one: nothing else of it is known then.
 */
import { PipelineError } from "../../errors.ts";
import { mapOrdered } from "../map-ordered.ts";
import type { ListedObject } from "./destination.ts";
import { type Session, failureOf, refusalOf } from "./http-dialect.ts";
import { get } from "./http-read.ts";
import { called, type HttpsTarget } from "./https-target.ts";
import { compareNames, folderSegmentsOf, incomingPrefix, mostDepth } from "./object-names.ts";
import { persist, retryAfterMillis } from "./retry.ts";
import { textOf } from "./xml-text.ts";

const longestEntry = 64 * 1024;
const asksAtOnce = 8;
const question = Buffer.from(
  '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/></prop></propfind>',
);

/** Lists a folder (`""` for all) in name order; holds the names of one folder for each level of depth. */
export async function* list(
  session: Session,
  target: HttpsTarget,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  const path = folderSegmentsOf(folder)
    .map((segment) => `${segment}/`)
    .join("");
  const entries = target.isFolder ? await entriesOf(session, target, path, signal) : undefined;
  if (entries) yield* walk(session, target, { path, entries, depth: 0 }, signal);
  else yield* listBySums(session, path, signal);
}

/** Names of one folder, those of folders with a `/`, and sizes of objects. */
type Entries = Map<string, number>;

interface Level {
  readonly path: string;
  readonly entries: Entries;
  readonly depth: number;
}

async function* walk(
  session: Session,
  target: HttpsTarget,
  { path, entries, depth }: Level,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  if (depth > mostDepth) throw unreadable();
  for (const name of [...entries.keys()].toSorted(compareNames)) {
    if (!name.endsWith("/")) {
      yield { name: path + name, bytes: entries.get(name)! };
      continue;
    }
    const below = await entriesOf(session, target, path + name, signal);
    const level = { path: path + name, entries: below ?? new Map(), depth: depth + 1 };
    yield* walk(session, target, level, signal);
  }
}

/** What lies in a folder; undefined when the server does not list, or has no such folder. */
const entriesOf = (
  { connection, dialect, policy }: Session,
  target: HttpsTarget,
  path: string,
  signal: AbortSignal,
): Promise<Entries | undefined> =>
  persist(
    async () => {
      const headers = {
        depth: "1",
        "content-type": "application/xml",
        "content-length": String(question.length),
      };
      const request = { method: "PROPFIND", name: path, headers, body: question } as const;
      const answer = await connection.send(request, signal);
      if (answer.status === 207) return readEntries(answer.body(), folderUrl(target, path));
      const refusal = await refusalOf(dialect, answer);
      if ([400, 403, 404, 405, 501].includes(refusal.status)) return undefined;
      throw failureOf(dialect, refusal, "listing a folder");
    },
    signal,
    policy,
  );

const folderUrl = ({ origin, before }: HttpsTarget, path: string): URL =>
  new URL(before + path.split("/").map(encodeURIComponent).join("/"), origin);

async function readEntries(body: AsyncIterable<Uint8Array>, folder: URL): Promise<Entries> {
  const entries: Entries = new Map();
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of body) {
    const parts = (rest + decoder.decode(piece, { stream: true })).split(
      /<\/(?:[\w.-]+:)?response>/,
    );
    rest = parts.pop()!;
    if (rest.length > longestEntry && rest.trim() !== "") throw unreadable();
    rest = rest.trimStart();
    for (const part of parts) addEntry(entries, part, folder);
  }
  if (!/<\/(?:[\w.-]+:)?multistatus>\s*$/.test(rest)) throw unreadable();
  return entries;
}

function addEntry(entries: Entries, xml: string, folder: URL): void {
  const name = nameBelow(textOf(xml, "href"), folder);
  if (name === "" || name.startsWith(incomingPrefix)) return;
  const isFolder = /<(?:[\w.-]+:)?collection[\s/>]/.test(xml);
  const size = textOf(xml, "getcontentlength");
  if (name.includes("/") || (!isFolder && !/^\d{1,15}$/.test(size ?? ""))) throw unreadable();
  entries.set(isFolder ? `${name}/` : name, isFolder ? 0 : Number(size));
}

/** Servers escape what they like; decoded, all mean the same. */
function nameBelow(href: string | undefined, folder: URL): string {
  try {
    const url = new URL(href!.trim(), folder);
    const [whole, prefix] = [url.pathname, folder.pathname].map(decodeURIComponent);
    if (`${whole!}/` === prefix) return "";
    if (!whole!.startsWith(prefix!)) throw unreadable();
    return whole!.slice(prefix!.length).replace(/\/$/, "");
  } catch {
    throw unreadable();
  }
}

/** In name order: digits, capital letters, small ones. */
async function* listBySums(
  session: Session,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  const names = expectedNames(session, path, signal);
  const asked = mapOrdered(names, { width: asksAtOnce, signal }, (name, wanted) =>
    sizeOf(session, name, wanted),
  );
  for await (const found of asked) if (found) yield found;
}

async function* expectedNames(
  session: Session,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let rest = "";
  try {
    for await (const piece of get(session, `${path}SHA256SUMS`, signal)) {
      const lines = (rest + Buffer.from(piece).toString("latin1")).split("\n");
      rest = lines.pop()!;
      for (const line of lines) yield path + nameOf(line);
    }
  } catch (error) {
    if (error instanceof PipelineError && error.code === "not-found") return;
    throw error;
  }
  for (const name of ["SHA256SUMS", "manifest.json", "manifest.json.sig"]) yield path + name;
}

function nameOf(line: string): string {
  const name = /^[0-9a-f]{64} [ *]([\w.-]{1,255})$/.exec(line)?.[1];
  if (name === undefined) throw unreadable();
  return name;
}

const sizeOf = (
  { connection, dialect, policy }: Session,
  name: string,
  signal: AbortSignal,
): Promise<ListedObject | undefined> =>
  persist(
    async () => {
      const answer = await connection.send({ method: "HEAD", name }, signal);
      answer.drop();
      const { status } = answer;
      if (status === 404 || status === 410) return undefined;
      const bytes = Number(answer.header("content-length") ?? Number.NaN);
      if (status === 200 && Number.isSafeInteger(bytes)) return { name, bytes };
      if (status === 200) throw unreadable();
      const waitMillis = retryAfterMillis(answer.header("retry-after"));
      throw failureOf(dialect, { status, code: "", waitMillis }, "asking for an object");
    },
    signal,
    policy,
  );

function unreadable(): PipelineError {
  return new PipelineError(
    "destination-failed",
    `${called} sent a listing that cannot be read; expected a WebDAV multistatus, or a SHA256SUMS and the sizes of what it names`,
  );
}
