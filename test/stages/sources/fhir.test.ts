import assert from "node:assert/strict";
import * as v from "valibot";
import type { RecordBatch } from "../../../src/stages/nouns.ts";
import { fhir, readFhir } from "../../../src/stages/sources/fhir.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { nothing, rowsOf } from "../../fixtures/sources.ts";
import { makeObservations, startFhir, type TestFhirServer } from "../../servers/fhir.ts";

const resources = makeObservations(2500);
const observations = resources.filter(({ type }) => type === "Observation");
const textOf = (batches: readonly RecordBatch[]) =>
  Buffer.concat(batches.map(({ bytes }) => bytes)).toString();
const linesOf = (some: readonly { readonly text: string }[]) =>
  some.map(({ text }) => `${text}\n`).join("");

describe("fhir", () => {
  let server: TestFhirServer;
  const parse = (config: object) => v.parse(fhir.config, { url: server.base, ...config });
  const read = (config: object) => collect(readFhir(parse(config), testContext()));

  before(async () => {
    server = await startFhir({ resources });
  });
  after(() => server.close());

  checkStageContract({
    stage: fhir,
    config: () => ({ url: server.base, search: "Observation", count: 400 }),
    required: ["url", "search"],
    wrong: { url: "ftp://x", count: 0, parallel: 99, maxRecord: "1GiB", totals: "some" },
    empty: {
      config: () => ({ url: server.base, search: "Condition" }),
      check: ([only], error) => {
        assert.equal(error, undefined);
        assert.deepEqual(only?.rows, []);
        assert.equal(only?.end?.rows, 0);
        assert.equal(only?.end?.consistency.proof["total"], 0);
      },
    },
  });

  it("refuses searches that lead elsewhere and logins that are none", () => {
    const refused = (config: object) =>
      assert.equal(v.safeParse(fhir.config, { url: server.base, ...config }).success, false);
    refused({});
    refused({ search: "../Patient" });
    refused({ search: "http://elsewhere/Patient" });
    refused({ search: "Patient", auth: { user: "a" } });
    refused({ search: "Patient", auth: { token: "a", user: "b", password: "c" } });
    refused({ search: "Patient", auth: { clientId: "a", clientSecret: "b" } });
    refused({ search: "Patient", url: "https://user:password@host/fhir" });
    parse({ search: ["Patient?_id=1", "Observation"], auth: { user: "a", password: "b" } });
    refused({ search: "Patient", lastUpdated: ["2026-02-01", "2026-01-01"] });
  });

  it("gives every resource as its server wrote it, in its order, and tells how many first", async () => {
    const batches = await read({ search: "Observation", count: 300 });
    assert.equal(textOf(batches), linesOf(observations));
    assert.deepEqual(batches[0]?.expects, { rows: 2500, exact: true });
    assert.deepEqual(batches.at(-1)?.end?.consistency, {
      class: "stream",
      proof: { matches: 2500, included: 0, duplicatesCut: 0, allRemembered: true, total: 2500 },
    });
  });

  it("gives rows whose numbers keep their digits", async () => {
    const rows = rowsOf(
      await collect(fhir.open(parse({ search: "Observation?_id=o7" }), testContext(), nothing())),
    );
    assert.match(JSON.stringify(rows), /"value":7\.00,/);
  });

  it("takes away the white space between tokens and nothing else", async () => {
    const pretty = await startFhir({ resources, pretty: true });
    try {
      const config = v.parse(fhir.config, { url: pretty.base, search: "Observation" });
      assert.equal(textOf(await collect(readFhir(config, testContext()))), linesOf(observations));
    } finally {
      await pretty.close();
    }
  });

  it("reads windows in parallel, and the result is in the same order each time", async () => {
    const lastUpdated = ["2026-01-01T06:00:00Z", "2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"];
    const config = { search: "Observation", lastUpdated, count: 100 };
    const first = textOf(await read({ ...config, parallel: 4 }));
    for (let again = 0; again < 2; again += 1)
      assert.equal(textOf(await read({ ...config, parallel: 4 })), first);
    const sorted = (text: string) => text.split("\n").toSorted().join("\n");
    assert.notEqual(first, linesOf(observations));
    assert.equal(sorted(first), sorted(linesOf(observations)));
    assert.equal(textOf(await read({ ...config, parallel: 1 })), linesOf(observations));
  });

  it("asks for each resource once where dates cut windows of parameters", async () => {
    const windows = ["_lastUpdated=lt2026-01-01T06:00:00Z", "_lastUpdated=ge2026-01-01T06:00:00Z"];
    const lastUpdated = ["2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"];
    const config = { search: "Observation", windows, lastUpdated, count: 100 };
    const batches = await read({ ...config, parallel: 1 });
    assert.equal(textOf(batches), linesOf(observations));
    assert.equal(batches.at(-1)?.end?.consistency.proof["duplicatesCut"], 0);
  });

  it("refuses windows that leave something out", async () => {
    const windows = ["_lastUpdated=lt2026-01-01T06:00:00Z", "_lastUpdated=ge2026-01-01T07:00:00Z"];
    await assert.rejects(read({ search: "Observation", windows }), {
      code: "source-failed",
      message: /counts 2500 resources before and 2500 after, but gave 2440/,
    });
    const batches = await read({ search: "Observation", windows, totals: "none" });
    assert.equal(batches.at(-1)?.end?.rows, 2440);
  });

  it("gives what was included once, and counts it as found when it is found too", async () => {
    const search = ["Observation?_include=Observation:subject", "Patient"];
    const batches = await read({ search, count: 100, parallel: 1 });
    const end = batches.at(-1)?.end;
    assert.equal(end?.rows, 2503);
    assert.deepEqual(end?.consistency.proof["total"], 2503);
    assert.deepEqual(batches[0]?.expects, { rows: 2503, exact: false });
    assert.deepEqual(
      textOf(batches).split("\n").toSorted().join("\n").trim(),
      linesOf(resources).split("\n").toSorted().join("\n").trim(),
    );
  });

  it("takes searches that overlap for whole, and gives what both find once", async () => {
    const search = ["Observation?_lastUpdated=lt2026-01-01T12:00:00Z", "Observation"];
    const batches = await read({ search, count: 100, parallel: 1 });
    assert.equal(textOf(batches), linesOf(observations));
    assert.deepEqual(batches[0]?.expects, { rows: 3220, exact: false });
    assert.deepEqual(batches.at(-1)?.end?.consistency.proof, {
      matches: 2500,
      included: 0,
      duplicatesCut: 720,
      allRemembered: true,
      total: 3220,
    });
  });

  it("sends searches in a body when asked to, and a plus sign as it is", async () => {
    const search = "Observation?_lastUpdated=ge2026-01-01T01:00:00+01:00&_id=o1,o2";
    const batches = await read({ search, post: true, totals: "none" });
    assert.equal(batches.at(-1)?.end?.rows, 2);
    const { method, url, body } = server.requests.at(-1)!;
    assert.equal(`${method} ${url.pathname}${url.search}`, "POST /fhir/Observation/_search");
    assert.equal(new URLSearchParams(body).get("_lastUpdated"), "ge2026-01-01T01:00:00+01:00");
  });

  it("says in the log what it asked and how long answers took", async () => {
    const told: string[] = [];
    const log = { info: (message: string) => void told.push(message), warn() {} };
    await collect(readFhir(parse({ search: "Patient" }), testContext({ log })));
    assert.match(told.join(), /2 requests, 0 of them again; 1 pages or files of about 3 resources/);
  });
});
