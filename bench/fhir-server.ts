/** A FHIR server that costs little itself: a page of resources made once, sent again and again with other ids. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const [total = 100_000, pageSize = 1000] = process.argv.slice(2).map(Number);
const files = 4;

const observation = (id: number) =>
  `{"resourceType":"Observation","id":"obs-${String(id).padStart(9, "0")}","meta":{"versionId":"1","lastUpdated":"2026-03-01T08:15:30.123+00:00","profile":["http://hl7.org/fhir/StructureDefinition/bp"]},` +
  `"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">Blood pressure, seated, after five minutes of rest</div>"},` +
  `"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital Signs"}]}],` +
  `"code":{"coding":[{"system":"http://loinc.org","code":"85354-9","display":"Blood pressure panel with all children optional"}],"text":"Blood pressure"},` +
  `"subject":{"reference":"Patient/${id % 5000}"},"effectiveDateTime":"2026-03-01T08:10:00+00:00","component":[` +
  `{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":${100 + (id % 80)}.0,"unit":"mm[Hg]","system":"http://unitsofmeasure.org","code":"mm[Hg]"}},` +
  `{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":${60 + (id % 40)}.0,"unit":"mm[Hg]","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}]}`;

const capabilities = {
  resourceType: "CapabilityStatement",
  status: "active",
  date: "2026-03-01",
  kind: "instance",
  fhirVersion: "4.0.1",
  format: ["json"],
  rest: [
    {
      mode: "server",
      resource: [{ type: "Observation", interaction: [{ code: "search-type" }] }],
      operation: [
        {
          name: "export",
          definition: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
        },
      ],
    },
  ],
};

const json = { "content-type": "application/fhir+json" };

/** Sends parts as fast as they are taken. */
async function sendAll(response: ServerResponse, parts: Iterable<string>): Promise<void> {
  for (const part of parts) {
    if (response.destroyed) return;
    if (!response.write(part)) await new Promise((resume) => response.once("drain", resume));
  }
  response.end();
}

function* entries(base: string, from: number, to: number) {
  for (let id = from; id < to; id += 100) {
    const some = Array.from({ length: Math.min(100, to - id) }, (_, at) => id + at).map(
      (one) =>
        `{"fullUrl":"${base}/Observation/obs-${one}","resource":${observation(one)},"search":{"mode":"match"}}`,
    );
    yield `${id === from ? "" : ","}${some.join(",")}`;
  }
}

function* bundle(base: string, offset: number, count: number) {
  const to = Math.min(offset + count, total);
  const next = `{"relation":"next","url":"${base}?page=${to}&_count=${count}"}`;
  yield `{"resourceType":"Bundle","type":"searchset","link":[${to < total ? next : ""}],"entry":[`;
  yield* entries(base, offset, to);
  yield "]}";
}

function* lines(from: number, to: number) {
  for (let id = from; id < to; id += 100) {
    const some = Array.from({ length: Math.min(100, to - id) }, (_, at) => observation(id + at));
    yield `${some.join("\n")}\n`;
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", `http://${request.headers.host}`);
  const { origin, pathname, searchParams } = url;
  const base = `${origin}/fhir`;
  if (pathname.endsWith("$export")) {
    response.writeHead(202, { "content-location": `${origin}/status` }).end();
  } else if (pathname.endsWith("/metadata")) {
    response.writeHead(200, json).end(JSON.stringify(capabilities));
  } else if (pathname === "/status" && request.method === "DELETE") {
    response.writeHead(202).end();
  } else if (pathname === "/status") {
    const output = Array.from({ length: files }, (_, at) => ({
      type: "Observation",
      url: `${origin}/files/${at}`,
      count: total / files,
    }));
    const manifest = { transactionTime: "2026-03-02T00:00:00Z", requiresAccessToken: true };
    response.writeHead(200, json).end(JSON.stringify({ ...manifest, output, error: [] }));
  } else if (pathname.startsWith("/files/")) {
    const from = (Number(pathname.slice(7)) * total) / files;
    response.writeHead(200, { "content-type": "application/fhir+ndjson" });
    void sendAll(response, lines(from, from + total / files));
  } else if (searchParams.get("_summary") === "count") {
    response.writeHead(200, json);
    response.end(JSON.stringify({ resourceType: "Bundle", type: "searchset", total }));
  } else {
    const count = Number(searchParams.get("_count") ?? pageSize);
    response.writeHead(200, json);
    void sendAll(response, bundle(base, Number(searchParams.get("page") ?? 0), count));
  }
});
// Who works on one answer for long finds the connection open for the next.
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
