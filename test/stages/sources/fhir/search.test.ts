/** Bundles that are almost searchsets. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { fhir, readFhir } from "../../../../src/stages/sources/fhir.ts";
import { collect, testContext } from "../../../contract/stage-contract.ts";
import { send, startFhir, type TestFhirServer } from "../../../servers/fhir.ts";

describe("the pages of a search", () => {
  let server: TestFhirServer;
  let body = "";
  before(async () => {
    const answer = { "content-type": "application/fhir+json" };
    server = await startFhir({ resources: [] }, [
      (_, response) => (send(response, 200, body, answer), true),
    ]);
  });
  after(() => server.close());

  const read = (page: string) => {
    body = page;
    const config = { url: server.base, search: "Observation", totals: "none" };
    return collect(readFhir(v.parse(fhir.config, config), testContext()));
  };
  const bundle = (entry: string, more = "") =>
    `{"resourceType":"Bundle"${more},"entry":[${entry}]}`;
  const resource = (id: string) => `"resource":{"resourceType":"Observation","id":"${id}"}`;

  it("refuse entries with two resources, and such as are broken around theirs", async () => {
    const code = "source-bad-data";
    const two = bundle(`{${resource("a")},${resource("b")}}`);
    await assert.rejects(read(two), { code, message: /two resources in one entry/ });
    const broken = bundle(`{"fullUrl":x,${resource("a")}}`);
    await assert.rejects(read(broken), { code, message: /an entry that holds no resource/ });
  });

  it("refuse a Bundle that is broken around its entries", () =>
    assert.rejects(read(bundle(`{${resource("a")}}`, ',"total":01')), {
      code: "source-bad-data",
      message: /^search 1, page 1: broken JSON; expected a searchset Bundle$/,
    }));

  it("leave out what a server tells beside the data, whatever its type", async () => {
    const aside = `{${resource("b")},"search":{"mode":"outcome"}}`;
    const batches = await read(bundle(`{${resource("a")}},${aside}`));
    assert.equal(batches.at(-1)?.end?.rows, 1);
    const text = Buffer.concat(batches.map(({ bytes }) => bytes)).toString();
    assert.equal(text, '{"resourceType":"Observation","id":"a"}\n');
  });

  it("end a search whose next links are new each time and bring nothing new", async () => {
    let asked = 0;
    const endless = await startFhir({ resources: [] }, [
      ({ url }, response) => {
        asked += 1;
        // Past its end it gives the last page again, or an empty one.
        const entries = asked % 3 === 0 ? "" : `{${resource(asked === 1 ? "a" : "b")}}`;
        const next = `${url.origin}${url.pathname}?_offset=${asked}`;
        const link = `,"link":[{"relation":"next","url":"${next}"}]`;
        send(response, 200, bundle(entries, link), { "content-type": "application/fhir+json" });
        return true;
      },
    ]);
    try {
      const config = { url: endless.base, search: "Observation", totals: "none" };
      await assert.rejects(collect(readFhir(v.parse(fhir.config, config), testContext())), {
        code: "source-failed",
        message: /^search 1, page 1002: 1,000 pages in a row brought nothing new/,
      });
      assert.equal(asked, 1002);
    } finally {
      await endless.close();
    }
  });
});
