/**
 * A bulk export (http://hl7.org/fhir/uv/bulkdata): kicked off once a run, polled until its manifest is there, taken up
 * again by a later attempt, and removed from the server when the run has all of it durably.
 */
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { PipelineError } from "../../../errors.ts";
import { retryAfterMillis } from "../../destinations/retry.ts";
import type { Log } from "../../stage.ts";
import { readOutcome } from "./outcome.ts";
import { fhirJson, type FhirServer, type JsonAnswer } from "./server.ts";

export interface ExportRequest {
  /** `system`, `patient`, or `Group/…`. */
  readonly export: string;
  readonly types: readonly string[];
  readonly typeFilters: readonly string[];
  readonly since?: string | undefined;
  /** Longest wait for the server to finish. */
  readonly exportTimeout: number;
}

/** Where a run remembers its export, so that another attempt does not ask for it again. */
export interface Memory {
  read(): Promise<string | undefined>;
  write(statusUrl: string): Promise<void>;
}

const files = v.optional(
  v.nullish(
    v.array(v.looseObject({ type: v.string(), url: v.string(), count: v.optional(v.number()) })),
  ),
);
const manifestSchema = v.looseObject({
  transactionTime: v.string(),
  requiresAccessToken: v.boolean(),
  output: files,
  deleted: files,
  error: files,
  link: v.optional(v.array(v.looseObject({ relation: v.string(), url: v.string() }))),
});
type ManifestPart = v.InferOutput<typeof manifestSchema>;
export type ExportFile = NonNullable<ManifestPart["output"]>[number];

/** All parts of a manifest together. */
export interface ExportManifest {
  readonly transactionTime: string;
  readonly requiresAccessToken: boolean;
  readonly output: readonly ExportFile[];
  readonly deleted: readonly ExportFile[];
  readonly error: readonly ExportFile[];
}

/** Some thousand files; a manifest of more is refused with a word on what to do. */
const mostManifestBytes = 4 * 1024 * 1024;
const mostStatusBytes = 256 * 1024;
const shortestPollMillis = 100;
const usualPollMillis = 1000;
const longestPollMillis = 60_000;
const mostManifests = 1000;

/** Where the export's status is: the one that an earlier attempt of the run asked for, or a new one. */
export async function findExport(
  server: FhirServer,
  request: ExportRequest,
  memory: Memory,
  signal: AbortSignal,
): Promise<{ readonly status: URL; readonly isOld: boolean }> {
  const known = await memory.read();
  if (known !== undefined) return { status: server.own(known, new URL(server.base)), isOld: true };
  const url = new URL(`${server.base}/${placeOf(request)}`);
  url.search = kickOffParams(request).toString();
  const headers = { prefer: "respond-async" };
  const answer = await server.askJson({ url, headers, takes: [202] }, mostStatusBytes, signal);
  const location = answer.header("content-location");
  if (location === undefined)
    throw new PipelineError(
      "source-failed",
      "the server accepted the export without saying where its status is; expected Content-Location",
    );
  const status = server.own(location, url);
  await memory.write(status.href);
  return { status, isOld: false };
}

function placeOf(request: ExportRequest): string {
  if (request.export === "system") return "$export";
  return request.export === "patient" ? "Patient/$export" : `${request.export}/$export`;
}

function kickOffParams({ types, typeFilters, since }: ExportRequest): URLSearchParams {
  const params = new URLSearchParams({ _outputFormat: "application/fhir+ndjson" });
  if (types.length > 0) params.set("_type", types.join(","));
  if (since !== undefined) params.set("_since", since);
  for (const filter of typeFilters) params.append("_typeFilter", filter);
  return params;
}

/** Waits until the export is done; gives its manifest, the parts of it put together. */
export async function awaitManifest(
  server: FhirServer,
  { status, isOld }: Awaited<ReturnType<typeof findExport>>,
  options: { readonly exportTimeout: number; readonly log: Log },
  signal: AbortSignal,
): Promise<ExportManifest> {
  const deadline = Date.now() + options.exportTimeout;
  const say = createProgress(options.log);
  for (let polls = 0; ; polls += 1) {
    const answer = await poll(server, status, isOld, signal);
    if (answer.status === 200) return completed(server, status, answer, signal);
    say(answer.header("x-progress"));
    const wait = pauseOf(answer.header("retry-after"), polls);
    if (Date.now() + wait > deadline)
      throw new PipelineError(
        "source-failed",
        "the server has not finished the export within `exportTimeout`; run again to wait on for the same export",
      );
    await sleep(wait, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** As long as the server asks for, within reason; without a word that is one (a date may be past by our clock) longer each time. */
function pauseOf(retryAfter: string | undefined, polls: number): number {
  const asked = retryAfterMillis(retryAfter);
  if (asked === 0 && retryAfter !== "0")
    return Math.min(usualPollMillis * 1.5 ** polls, longestPollMillis);
  return Math.min(Math.max(asked, shortestPollMillis), 10 * longestPollMillis);
}

async function poll(server: FhirServer, url: URL, isOld: boolean, signal: AbortSignal) {
  try {
    const headers = { accept: "application/json" };
    return await server.askJson({ url, headers, takes: [200, 202] }, mostManifestBytes, signal);
  } catch (error) {
    const { details } = error as { details?: { status?: unknown } };
    if (details?.status !== 404 && details?.status !== 410) throw error;
    throw new PipelineError(
      isOld ? "source-changed" : "source-failed",
      isOld
        ? "the server no longer has the export that this run began with; another one would hold other data, so discard the unfinished run with --restart"
        : "the server has forgotten the export before it was finished; discard the unfinished run with --restart",
    );
  }
}

/** Progress is the server's own text; only a percentage in it is told on. */
function createProgress(log: Log) {
  let told = "";
  return (progress: string | undefined) => {
    const percent = /(\d{1,3})(?:\.\d+)?\s*%/.exec(progress ?? "")?.[1];
    const now = percent === undefined ? "in progress" : `${percent} %`;
    if (now !== told) log.info(`fhir: export ${now}`);
    told = now;
  };
}

/** A server may give its manifest in parts, each with a link to the next. */
async function completed(
  server: FhirServer,
  status: URL,
  answer: JsonAnswer,
  signal: AbortSignal,
): Promise<ExportManifest> {
  let part = readManifest(answer);
  const { transactionTime, requiresAccessToken } = part;
  const all = {
    output: [] as ExportFile[],
    deleted: [] as ExportFile[],
    error: [] as ExportFile[],
  };
  for (let parts = 1; ; parts += 1) {
    for (const kind of ["output", "deleted", "error"] as const)
      all[kind].push(...(part[kind] ?? []));
    const next = part.link?.find(({ relation }) => relation === "next")?.url;
    if (next === undefined) return { transactionTime, requiresAccessToken, ...all };
    if (parts === mostManifests) throw wrongManifest(`more than ${mostManifests} parts`);
    const url = server.own(next, status);
    part = readManifest(await server.askJson({ url, media: fhirJson }, mostManifestBytes, signal));
    if (part.transactionTime !== transactionTime) throw wrongManifest("parts of different times");
  }
}

function readManifest({ body }: JsonAnswer): ManifestPart {
  const outcome = readOutcome(body);
  if (outcome) throw wrongManifest(`an OperationOutcome (${outcome.told})`);
  const result = v.safeParse(manifestSchema, body);
  if (result.success) return result.output;
  const path = v.getDotPath(result.issues[0]);
  throw wrongManifest(`something else${path ? `, wrong at ${path}` : ""}`);
}

const wrongManifest = (what: string) =>
  new PipelineError(
    "source-bad-data",
    `the export ended with ${what}; expected a manifest of the Bulk Data specification`,
  );

/** Tells the server that its files are needed no more. Whether it hears it changes nothing of what was exported. */
export async function removeExport(
  server: FhirServer,
  statusUrl: string,
  signal: AbortSignal,
): Promise<void> {
  const url = server.own(statusUrl, new URL(server.base));
  const answer = await server.ask(
    { method: "DELETE", url, takes: [200, 202, 204, 404, 410] },
    signal,
  );
  answer.drop();
}
