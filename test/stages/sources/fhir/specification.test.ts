/**
 * The messages that the specifications show as examples, without their narrative and at a host of ours, with files behind them:
 * a search (http://hl7.org/fhir/R4/bundle-example.json.html) and a bulk export's manifest
 * (http://hl7.org/fhir/uv/bulkdata/export.html#response---output-manifest).
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import type { RecordBatch } from "../../../../src/stages/nouns.ts";
import type { Spool } from "../../../../src/stages/pages/spool-store.ts";
import { fhirBulk, readFhirBulk } from "../../../../src/stages/sources/fhir-bulk.ts";
import { fhir, readFhir } from "../../../../src/stages/sources/fhir.ts";
import { collect, testContext } from "../../../contract/stage-contract.ts";
import { send, startFhir, type TestFhirServer } from "../../../servers/fhir.ts";

const firstPage = (base: string) => `{
  "resourceType": "Bundle",
  "id": "bundle-example",
  "meta": {
    "lastUpdated": "2014-08-18T01:43:30Z"
  },
  "type": "searchset",
  "total": 3,
  "link": [
    {
      "relation": "self",
      "url": "${base}/MedicationRequest?patient=347&_include=MedicationRequest.medication&_count=2"
    },
    {
      "relation": "next",
      "url": "${base}/MedicationRequest?patient=347&searchId=ff15fd40-ff71-4b48-b366-09c706bed9d0&page=2"
    }
  ],
  "entry": [
    {
      "fullUrl": "${base}/MedicationRequest/3123",
      "resource": {
        "resourceType": "MedicationRequest",
        "id": "3123",
        "status": "unknown",
        "intent": "order",
        "medicationReference": {
          "reference": "Medication/example"
        },
        "subject": {
          "reference": "Patient/347"
        }
      },
      "search": {
        "mode": "match",
        "score": 1
      }
    },
    {
      "fullUrl": "${base}/Medication/example",
      "resource": {
        "resourceType": "Medication",
        "id": "example"
      },
      "search": {
        "mode": "include"
      }
    }
  ]
}`;

/** The example stops at its first page, whose `total` says how much more there is. */
const secondPage = (base: string) => `{
  "resourceType": "Bundle",
  "type": "searchset",
  "total": 3,
  "link": [{ "relation": "self", "url": "${base}/MedicationRequest?patient=347&page=2" }],
  "entry": [${["3124", "3125"]
    .map(
      (id) =>
        `{ "fullUrl": "${base}/MedicationRequest/${id}", "resource": { "resourceType": "MedicationRequest", "id": "${id}" }, "search": { "mode": "match" } }`,
    )
    .join(", ")}]
}`;

const manifest = (host: string) => `{
  "transactionTime": "2021-01-01T00:00:00Z",
  "request" : "${host}/fhir/Patient/$export?_type=Patient,Observation",
  "requiresAccessToken" : true,
  "output" : [{
    "type" : "Patient",
    "url" : "${host}/output/patient_file_1.ndjson"
  },{
    "type" : "Patient",
    "url" : "${host}/output/patient_file_2.ndjson"
  },{
    "type" : "Observation",
    "url" : "${host}/output/observation_file_1.ndjson"
  }],
  "deleted": [{
    "type" : "Bundle",
    "url" : "${host}/output/del_file_1.ndjson"
  }],
  "error" : [{
    "type" : "OperationOutcome",
    "url" : "${host}/output/err_file_1.ndjson"
  }],
  "extension":{"https://example.com/extra-property": true}
}`;

const files: Readonly<Record<string, string>> = {
  "patient_file_1.ndjson":
    '{"id":"5c41cecf-cf81-434f-9da7-e24e5a99dbc2","name":[{"given":["Brenda"],"family":["Jackson"]}],"gender":"female","birthDate":"1954-12-25T05:00:00","resourceType":"Patient"}\n' +
    '{"id":"3fabcb98-0995-447d-a03f-314d202b32f4","name":[{"given":["Bram"],"family":["Sandeep"]}],"gender":"male","birthDate":"1987-11-01T05:00:00","resourceType":"Patient"}\n',
  "patient_file_2.ndjson":
    '{"id":"945e5c7f-504b-43bd-9562-a2ef82c244b2","name":[{"given":["Sandy"],"family":["Hamlin"]}],"gender":"female","birthDate":"1988-01-24T05:00:00","resourceType":"Patient"}\n',
  "observation_file_1.ndjson": '{"id":"o1","resourceType":"Observation","status":"final"}\n',
  "del_file_1.ndjson":
    '{"resourceType":"Bundle","id":"bundle-transaction","meta":{"lastUpdated":"2020-04-27T02:56:00Z"},"type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/123"}}]}\n',
  "err_file_1.ndjson":
    '{"resourceType":"OperationOutcome","id":"1","issue":[{"severity":"error","code":"processing"}]}\n',
};

const textOf = (batches: readonly RecordBatch[]) =>
  Buffer.concat(batches.map(({ bytes }) => bytes)).toString();

describe("what the specifications show", () => {
  let server: TestFhirServer;
  before(async () => {
    server = await startFhir({
      resources: [],
      intercept({ url, method }, response) {
        const { pathname, searchParams } = url;
        const json = { "content-type": "application/json" };
        const name = pathname.split("/").at(-1)!;
        if (searchParams.get("_summary") === "count")
          send(response, 200, '{"resourceType":"Bundle","type":"searchset","total":3}');
        else if (name === "MedicationRequest")
          send(response, 200, (searchParams.has("page") ? secondPage : firstPage)(server.base));
        else if (name === "$export")
          response.writeHead(202, { "content-location": "/bulkstatus/1" }).end();
        else if (pathname.startsWith("/bulkstatus/") && method === "DELETE")
          response.writeHead(202).end();
        else if (pathname.startsWith("/bulkstatus/"))
          send(response, 200, manifest(new URL(server.base).origin), json);
        else if (files[name] !== undefined)
          send(response, 200, files[name], { "content-type": "application/fhir+ndjson" });
        else return false;
        return true;
      },
    });
  });
  after(() => server.close());

  it("of a search is read: what matched, what was included, and the pages behind it", async () => {
    const search = "MedicationRequest?patient=347&_include=MedicationRequest.medication";
    const config = v.parse(fhir.config, { url: server.base, search, count: 2 });
    const batches = await collect(readFhir(config, testContext()));
    const [first, second, ...rest] = textOf(batches).split("\n");
    assert.equal(
      first,
      '{"resourceType":"MedicationRequest","id":"3123","status":"unknown","intent":"order","medicationReference":{"reference":"Medication/example"},"subject":{"reference":"Patient/347"}}',
    );
    assert.equal(second, '{"resourceType":"Medication","id":"example"}');
    assert.equal(rest.filter(Boolean).length, 2);
    const { proof } = batches.at(-1)!.end!.consistency;
    assert.deepEqual([proof["matches"], proof["included"], proof["total"]], [3, 1, 3]);
  });

  it("of a bulk export is read: its files in their order, deletions and errors too", async () => {
    const note: Pick<Spool, "readNote" | "writeNote"> = {
      readNote: () => Promise.resolve(undefined),
      writeNote: () => Promise.resolve(),
    };
    const config = v.parse(fhirBulk.config, {
      url: server.base,
      auth: { token: "canary" },
      export: "patient",
      types: ["Patient", "Observation"],
    });
    const batches = await collect(readFhirBulk(config, testContext({ spool: note as Spool })));
    const lines = textOf(batches).split("\n").filter(Boolean);
    assert.deepEqual(
      lines.toSorted(),
      Object.values(files).join("").trimEnd().split("\n").toSorted(),
    );
    const types = lines.map((line) => (JSON.parse(line) as { resourceType: string }).resourceType);
    assert.deepEqual(types, [
      "Observation",
      "Patient",
      "Patient",
      "Patient",
      "Bundle",
      "OperationOutcome",
    ]);
    const { class: kind, proof } = batches.at(-1)!.end!.consistency;
    assert.equal(kind, "snapshot");
    assert.deepEqual([proof["output"], proof["deleted"], proof["error"]], [4, 1, 1]);
    assert.equal(proof["transactionTime"], "2021-01-01T00:00:00Z");
  });
});
