/**
 * A FHIR R4 server in memory, written from the specification (http://hl7.org/fhir/R4/search.html and
 * http://hl7.org/fhir/R4/http.html): searches by GET and POST, `_count`, `_summary=count`, `_lastUpdated`, `_id`,
 * `_include`, pages of a snapshot behind opaque next links. It is no recording of a product; faults are put in by tests.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface StoredResource {
  readonly type: string;
  readonly id: string;
  readonly version: string;
  readonly lastUpdated: string;
  /** The resource as the server writes it. */
  readonly text: string;
  /** What `_include=…:subject` brings: `Patient/1`. */
  readonly subject?: string;
}

/** Answers a request in the server's place and says so, or lets it be. */
export type Interceptor = (
  request: SeenRequest,
  response: ServerResponse,
) => boolean | Promise<boolean>;

export interface SeenRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface FhirServerOptions {
  readonly resources: readonly StoredResource[];
  /** White space between tokens, as some servers write. */
  readonly pretty?: boolean;
  readonly intercept?: Interceptor;
}

export interface TestFhirServer {
  readonly base: string;
  readonly origin: string;
  readonly requests: readonly SeenRequest[];
  close(): Promise<void>;
}

/** @param more parts of a server that tests add, such as an issuer of tokens: tried first */
export async function startFhir(
  { resources, pretty = false, intercept }: FhirServerOptions,
  more: readonly Interceptor[] = [],
): Promise<TestFhirServer> {
  const requests: SeenRequest[] = [];
  const snapshots = new Map<string, Snapshot>();
  const server = createServer((incoming, response) => {
    void answer(incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const base = `${origin}/fhir`;

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>)).toString();
    const url = new URL(incoming.url ?? "/", origin);
    const request = { method: incoming.method ?? "", url, headers: incoming.headers, body };
    requests.push(request);
    for (const one of [...more, ...(intercept ? [intercept] : [])])
      if (await one(request, response)) return;
    const search = readSearch(request);
    if (!search) return sendOutcome(response, 404, "not-found");
    const { type, params } = search;
    const isPage = params.has("_getpages");
    const snapshot = isPage
      ? snapshots.get(params.get("_getpages") ?? "")
      : { type, params, found: find(resources, type, params) };
    if (!snapshot) return sendOutcome(response, 410, "expired");
    if (params.get("_summary") === "count") return send(response, 200, countBundle(snapshot));
    const id = params.get("_getpages") ?? randomUUID();
    snapshots.set(id, snapshot);
    const offset = Number(params.get("_getpagesoffset") ?? 0);
    send(response, 200, pageBundle({ base, id, offset, pretty, resources, snapshot }));
  }

  return {
    base,
    origin,
    requests,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

interface Snapshot {
  readonly type: string;
  readonly params: URLSearchParams;
  readonly found: readonly StoredResource[];
}

/** `GET [base]/[type]?…`, `POST [base]/[type]/_search`, and a page by its link `GET [base]?_getpages=…`. */
function readSearch({ method, url, headers, body }: SeenRequest) {
  const [, fhir, type = "", last, ...rest] = url.pathname.split("/");
  if (fhir !== "fhir" || rest.length > 0) return undefined;
  if (method === "GET" && last === undefined) return { type, params: url.searchParams };
  const isForm = headers["content-type"] === "application/x-www-form-urlencoded";
  if (method !== "POST" || last !== "_search" || !isForm) return undefined;
  return { type, params: new URLSearchParams(body) };
}

function find(
  resources: readonly StoredResource[],
  type: string,
  params: URLSearchParams,
): readonly StoredResource[] {
  const ids = params.get("_id")?.split(",");
  const bounds = params.getAll("_lastUpdated").map((bound) => {
    const at = Date.parse(bound.slice(2));
    return (time: number) => (bound.startsWith("ge") ? time >= at : time < at);
  });
  return resources.filter(
    (one) =>
      one.type === type &&
      (ids?.includes(one.id) ?? true) &&
      bounds.every((fits) => fits(Date.parse(one.lastUpdated))),
  );
}

const countBundle = ({ found }: Snapshot) =>
  JSON.stringify({ resourceType: "Bundle", type: "searchset", total: found.length });

interface PageOf {
  readonly base: string;
  readonly id: string;
  readonly offset: number;
  readonly pretty: boolean;
  readonly resources: readonly StoredResource[];
  readonly snapshot: Snapshot;
}

function pageBundle({ base, id, offset, pretty, resources, snapshot }: PageOf): string {
  const { found, params } = snapshot;
  const count = Number(params.get("_count") ?? 20);
  const page = found.slice(offset, offset + count);
  const subjects = params.getAll("_include").length > 0 ? page.map(({ subject }) => subject) : [];
  const included = resources.filter((one) => subjects.includes(`${one.type}/${one.id}`));
  const next = `${base}?_getpages=${id}&_getpagesoffset=${offset + count}`;
  const link = [
    { relation: "self", url: base },
    ...(offset + count < found.length ? [{ relation: "next", url: next }] : []),
  ];
  const gap = pretty ? "\n  " : "";
  const entry = (mode: string) => (one: StoredResource) =>
    `{${gap}"fullUrl":"${base}/${one.type}/${one.id}",${gap}"resource":${gap}${one.text},${gap}"search":{"mode":"${mode}"}${gap}}`;
  const entries = [...page.map(entry("match")), ...included.map(entry("include"))];
  const head = `{${gap}"resourceType":"Bundle",${gap}"type":"searchset",${gap}"total":${found.length},${gap}"link":${JSON.stringify(link)}`;
  // A Bundle without entries has no such member: JSON arrays of FHIR are never empty.
  return entries.length === 0
    ? `${head}}`
    : `${head},"entry":[${gap}${entries.join(",")}${gap}]}${gap}`;
}

export function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    "content-type": "application/fhir+json;charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

/** An OperationOutcome whose texts must never travel. */
export function sendOutcome(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  send(response, status, outcomeText("error", code), headers);
}

export const outcomeText = (severity: string, code: string): string =>
  JSON.stringify({
    resourceType: "OperationOutcome",
    issue: [{ severity, code, diagnostics: "secret: patient 555-0199 unknown" }],
  });

/** Observations with digits that a double would lose, of so many patients. */
export function makeObservations(count: number, patients = 3): StoredResource[] {
  const start = Date.parse("2026-01-01T00:00:00Z");
  const stored = (type: string, id: string, at: number, rest: string, subject?: string) => {
    const lastUpdated = new Date(start + at * 60_000).toISOString();
    const meta = `"meta":{"versionId":"1","lastUpdated":"${lastUpdated}"}`;
    const text = `{"resourceType":"${type}","id":"${id}",${meta},${rest}}`;
    return { type, id, version: "1", lastUpdated, text, ...(subject !== undefined && { subject }) };
  };
  return [
    ...Array.from({ length: patients }, (_, at) =>
      stored("Patient", `p${at}`, at, `"name":[{"family":"Secret\\u00e9 \\"${at}\\""}]`),
    ),
    ...Array.from({ length: count }, (_, at) =>
      stored(
        "Observation",
        `o${at}`,
        at,
        `"subject":{"reference":"Patient/p${at % patients}"},"valueQuantity":{"value":${at}.00,"unit":"mm[Hg]"}`,
        `Patient/p${at % patients}`,
      ),
    ),
  ];
}
