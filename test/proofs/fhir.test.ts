/** The trials that `npm run prove:fhir` runs against a server one names, here against the one written from the specification. */
import assert from "node:assert/strict";
import { proveFhir } from "../../prove/fhir.ts";
import { otherWays } from "../../prove/fhir/ways.ts";
import {
  makeObservations,
  send,
  sendOutcome,
  startFhir,
  type Interceptor,
  type StoredResource,
} from "../servers/fhir.ts";
import { createBulk } from "../servers/fhir-bulk.ts";

/** Reads a resource by its id, and stores one as servers do: with a version and a time, its numbers as `write` has them. */
const single =
  (resources: StoredResource[], write: (text: string) => string): Interceptor =>
  ({ method, url, body }, response) => {
    const [, , type = "", id] = url.pathname.split("/");
    if (id === undefined || id === "_search") return false;
    if (method === "PUT") {
      const lastUpdated = "2026-02-01T00:00:00.000Z";
      const meta = `"meta":{"versionId":"1","lastUpdated":"${lastUpdated}"},`;
      const text = write(body).replace(/("id":"[^"]*",)/, (own: string) => own + meta);
      const subject = /"reference":"([^"]*)"/.exec(body)?.[1];
      const stored = { type, id, version: "1", lastUpdated, text };
      resources.push(subject === undefined ? stored : { ...stored, subject });
      send(response, 201, text);
      return true;
    }
    const found = resources.find((one) => one.type === type && one.id === id);
    if (found) send(response, 200, found.text.replaceAll('","', '",\n  "'));
    else sendOutcome(response, 404, "not-found");
    return true;
  };

describe("a FHIR server that changes digits, and exports others than it gives to searches", () => {
  it("is found out in both, and in nothing else, whatever way it is read", async function () {
    this.timeout(60_000);
    const resources = makeObservations(60);
    const types = ["Patient", "Observation"];
    const output = types.map((type) => ({
      type,
      get lines() {
        const texts = resources.filter((one) => one.type === type).map(({ text }) => text);
        return texts.map((text) => text.replace('"unit":"mm[Hg]"', '"unit":"kPa"'));
      },
    }));
    const server = await startFhir({ resources, pretty: true }, [
      createBulk({ output }).intercept,
      single(resources, (text) => text.replace(/"value":[^,]*/, '"value":1')),
    ]);
    try {
      const options = { url: server.base, types, bulk: true, put: 10, reads: 20, seed: 7 };
      const report = await proveFhir(options);
      assert.deepEqual(
        report.failures.map((failure) => failure.replace(/\/[\w-]+/, "")),
        [
          "what was stored: Observation came otherwise than it was stored",
          "bulk export: Observation came otherwise than in plain pages",
        ],
      );
      assert.equal(report.trials, 8);
      assert.equal(report.resources, 73);
    } finally {
      await server.close();
    }
  });
});

describe("the ways from a FHIR server", () => {
  it("have no windows where it does not say when resources were stored", () => {
    const url = "http://localhost/fhir";
    const asked = { url, types: ["Patient"], token: undefined, random: () => 0.5, bulk: false };
    const names = (instants: readonly string[]) => otherWays(asked, instants).map((it) => it.name);
    const window = "windows of _lastUpdated";
    assert.ok(names(["2026-02-01T00:00:00Z"]).includes(window));
    assert.deepEqual(
      names([]),
      names(["2026-02-01T00:00:00Z"]).filter((name) => name !== window),
    );
  });
});
