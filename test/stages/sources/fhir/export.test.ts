/** Bulk exports by servers that keep to the specification only just, or not at all. */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { PipelineError, type ErrorCode } from "../../../../src/errors.ts";
import type { RecordBatch } from "../../../../src/stages/nouns.ts";
import {
  awaitManifest,
  findExport,
  type ExportRequest,
} from "../../../../src/stages/sources/fhir/export.ts";
import { readExport } from "../../../../src/stages/sources/fhir/read-export.ts";
import { openServer, type FhirServer } from "../../../../src/stages/sources/fhir/server.ts";
import {
  outcomeText,
  send,
  sendOutcome,
  startFhir,
  type SeenRequest,
  type TestFhirServer,
} from "../../../servers/fhir.ts";

const never = new AbortController().signal;
const usual: ExportRequest = {
  export: "system",
  types: [],
  typeFilters: [],
  exportTimeout: 500,
};
const transactionTime = "2026-01-02T03:04:05Z";
const part = (more: object = {}) =>
  JSON.stringify({ transactionTime, requiresAccessToken: true, ...more });
const file = (type: string, more: object = {}) => ({ type, url: "/files/one", ...more });
const linkTo = (url: string) => ({ link: [{ relation: "next", url }] });

type Answer = (response: ServerResponse, request: SeenRequest) => void;
const says =
  (body: string): Answer =>
  (response) =>
    send(response, 200, body, { "content-type": "application/json" });
const isNotDone: Answer = (response) => void response.writeHead(202).end();

describe("an export of a FHIR server", () => {
  const opened: { client: FhirServer; server: TestFhirServer }[] = [];
  after(async () => {
    for (const { client, server } of opened) {
      client.close();
      await server.close();
    }
  });

  /** A server whose export is at `/status`; answers are by path. */
  async function start(answers: Readonly<Record<string, Answer>>) {
    const server = await startFhir({ resources: [] }, [
      (request, response) => {
        const { pathname } = request.url;
        const answer = answers[pathname];
        if (answer) answer(response, request);
        else if (!pathname.endsWith("$export")) return false;
        else response.writeHead(202, { "content-location": "/status" }).end();
        return true;
      },
    ]);
    const client = openServer({ url: server.base, timeout: 5000 });
    opened.push({ client, server });
    return { client, server };
  }

  const told: string[] = [];
  const log = { info: (line: string) => void told.push(line), warn() {} };
  const memory = { read: async () => undefined, write: async () => {} };
  const request = async (client: FhirServer, asked: Partial<ExportRequest> = {}) => {
    const wanted = { ...usual, ...asked };
    const found = await findExport(client, wanted, memory, never);
    return awaitManifest(client, found, { exportTimeout: wanted.exportTimeout, log }, never);
  };
  const refuses = (work: Promise<unknown>, code: ErrorCode, message: RegExp) =>
    assert.rejects(work, (error: unknown) => {
      assert.ok(error instanceof PipelineError, String(error));
      assert.match(error.message, message);
      assert.equal(error.code, code);
      assert.doesNotMatch(error.message, /secret|555-0199/);
      return true;
    });

  it("is asked for of all patients or of a group, with its filters", async () => {
    const { client, server } = await start({ "/status": says(part()) });
    const typeFilters = ["Observation?code=8480-6", "Patient?active=true"];
    await request(client, { export: "patient", typeFilters });
    await request(client, { export: "Group/1" });
    const kickOffs = server.requests.filter(({ url }) => url.pathname.endsWith("$export"));
    assert.deepEqual(
      kickOffs.map(({ url }) => [url.pathname, url.searchParams.getAll("_typeFilter")]),
      [
        ["/fhir/Patient/$export", typeFilters],
        ["/fhir/Group/1/$export", []],
      ],
    );
  });

  it("has to say where its status is", async () => {
    const { client } = await start({ "/fhir/$export": isNotDone });
    await refuses(request(client), "source-failed", /expected Content-Location$/);
  });

  it("is not waited for beyond `exportTimeout`, at the pace that a mute server is asked at", async () => {
    const past = "Thu, 01 Jan 2026 00:00:00 GMT";
    for (const headers of [{}, { "retry-after": past }, { "retry-after": "soon" }]) {
      const waits: Answer = (response) => void response.writeHead(202, headers).end();
      const { client, server } = await start({ "/status": waits });
      told.length = 0;
      await refuses(request(client), "source-failed", /within `exportTimeout`; run again to wait/);
      assert.deepEqual(told, ["fhir: export in progress"]);
      assert.equal(server.requests.length, 2);
    }
  });

  it("that its server forgets is begun anew only on demand", async () => {
    const { client } = await start({
      "/status": (response) => sendOutcome(response, 410, "expired"),
    });
    await refuses(request(client), "source-failed", /has forgotten the export .* --restart$/);
  });

  it("may have its manifest in parts, which are of one time", async () => {
    const [first, second] = [file("Patient"), file("Observation", { count: 3 })];
    const { client } = await start({
      "/status": says(part({ output: [first], error: null, ...linkTo("/second") })),
      "/second": says(part({ output: [second], deleted: [file("Bundle")], link: [] })),
    });
    assert.deepEqual(await request(client), {
      transactionTime,
      requiresAccessToken: true,
      output: [first, second],
      deleted: [file("Bundle")],
      error: [],
    });
    const { client: changing } = await start({
      "/status": says(part(linkTo("/second"))),
      "/second": says(part({ transactionTime: "2026-01-02T03:04:06Z" })),
    });
    await refuses(request(changing), "source-bad-data", /parts of different times/);
  });

  it("whose parts have no end is refused", async () => {
    const { client } = await start({ "/status": says(part(linkTo("/status"))) });
    await refuses(request(client), "source-bad-data", /more than 1000 parts/);
  });

  it("that ends in anything but a manifest says in what", async () => {
    for (const [body, message] of [
      [outcomeText("error", "too-costly"), /with an OperationOutcome \(error: too-costly\);/],
      [part({ output: [{ type: "Patient" }] }), /with something else, wrong at output\.0\.url;/],
      ["<html>", /with something else;/],
    ] as const) {
      const { client } = await start({ "/status": says(body) });
      await refuses(request(client), "source-bad-data", message);
    }
  });

  /** All batches of an export with these files, each of which has these lines. */
  async function read(manifest: object, lines: string | Answer = "", maxRecord = 4096) {
    const { client } = await start({
      "/status": says(part(manifest)),
      "/files/one": typeof lines === "string" ? gives(lines) : lines,
    });
    const config = { ...usual, parallel: 1, maxRecord };
    const context = { signal: never, log } as Parameters<typeof readExport>[3];
    return await Array.fromAsync<RecordBatch>(readExport(client, config, memory, context));
  }
  const ndjson = { "content-type": "application/fhir+ndjson" };
  const gives =
    (lines: string): Answer =>
    (response) =>
      send(response, 200, lines, ndjson);
  const patient = '{"resourceType":"Patient","id":"1","meta":{"versionId":"1"}}\n';

  it("promises no number of rows where one file has no count, and cuts copies", async () => {
    const output = [file("Patient", { count: 1 }), file("Patient")];
    const batches = await read({ output }, patient);
    assert.ok(batches.every(({ expects }) => expects === undefined));
    assert.equal(Buffer.concat(batches.map(({ bytes }) => bytes)).toString(), patient);
    assert.equal(batches.at(-1)?.end?.rows, 1);
    assert.equal(batches.at(-1)?.end?.consistency.proof["duplicatesCut"], 1);
  });

  it("names a file's type only if it is one, and its address not at all", async () => {
    const output = [file("secret type", { url: "http://[secret" })];
    const reading = read({ output, requiresAccessToken: false });
    await refuses(
      reading,
      "source-bad-data",
      /^file 1 \(of an unknown type\): its address is none/,
    );
  });

  it("refuses lines that are too long, and such as are no text", async () => {
    const output = [file("Patient")];
    const long = read({ output }, patient, 16);
    await refuses(long, "source-bad-data", /^file 1 \(Patient\), .* larger than maxRecord \(16 b/);
    const bytes = Buffer.from(patient.replace('"1"', '"\xe9"'), "latin1");
    const odd = read({ output }, (response) => {
      response.writeHead(200, { ...ndjson, "content-length": bytes.length }).end(bytes);
    });
    await refuses(odd, "source-bad-data", /^file 1 \(Patient\), resource 1: not valid UTF-8/);
  });

  it("takes no rest of a file that is not that of the same one, nor a file that got shorter", async () => {
    const output = [file("Patient")];
    const breaksOff = (response: ServerResponse, etag: string) => {
      response.writeHead(200, { ...ndjson, etag, "content-length": 10 * patient.length });
      response.write(patient.repeat(2), () => setTimeout(() => response.destroy(), 50));
    };
    const moved = read({ output }, (response, { headers }) => {
      if (headers.range === undefined) return breaksOff(response, '"v1"');
      const range = { "content-range": `bytes 1-${patient.length}/999`, etag: '"v1"' };
      send(response, 206, patient, { ...ndjson, ...range });
    });
    await refuses(moved, "source-changed", /its rest is not that of the same file/);
    let requests = 0;
    const shorter = read({ output }, (response) => {
      requests += 1;
      if (requests === 1) breaksOff(response, 'W/"v1"');
      else gives(patient)(response, undefined as never);
    });
    await refuses(shorter, "source-changed", /broke off, and read again it has other resources/);
  });
});
