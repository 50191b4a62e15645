import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import type { ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startFhir } from "../../../servers/fhir.ts";

const megabyte = 1e6;
/** `SPILLWAY_SLOW=1` reads 100 MB of each. */
const largest = (process.env["SPILLWAY_SLOW"] === "1" ? 100 : 12) * megabyte;
const note = "blood pressure, seated, after five minutes of rest; ".repeat(20);

/** Sends parts until so many bytes are sent, as fast as they are taken. */
async function sendParts(response: ServerResponse, bytes: number, part: (at: number) => string) {
  let sent = 0;
  for (let at = 0; sent < bytes && !response.destroyed; at += 1) {
    const text = part(at);
    sent += text.length;
    if (!response.write(text)) await new Promise((resume) => response.once("drain", resume));
  }
}

describe("one page of a FHIR search, however large", () => {
  /** The peak memory of reading one Bundle that is made on the way. */
  async function readOne(make: (response: ServerResponse) => Promise<void>) {
    const server = await startFhir({ resources: [] }, [
      (_, response) => {
        response.writeHead(200, { "content-type": "application/fhir+json" });
        void make(response).then(() => response.end());
        return true;
      },
    ]);
    try {
      const program = fileURLToPath(new URL("../../../fixtures/read-fhir.ts", import.meta.url));
      const flags = ["--max-semi-space-size=1", "--max-old-space-size=32"];
      const { stdout } = await promisify(execFile)(process.execPath, [
        ...flags,
        program,
        server.base,
      ]);
      return JSON.parse(stdout) as { rows: number; refused: string; peakRss: number };
    } finally {
      await server.close();
    }
  }

  const bundleOf = (bytes: number) => async (response: ServerResponse) => {
    response.write('{"resourceType":"Bundle","type":"searchset","entry":[');
    await sendParts(response, bytes, (at) => {
      const resource = JSON.stringify({ resourceType: "Observation", id: `o${at}`, note });
      return `${at === 0 ? "" : ","}{"fullUrl":"urn:o${at}","resource":${resource}}`;
    });
    response.write("]}");
  };

  it("costs a batch and a resource, not a page", async function () {
    this.timeout(120_000);
    const small = await readOne(bundleOf(megabyte));
    const large = await readOne(bundleOf(largest));
    assert.ok(large.rows > (20 * largest) / 25 / 1300, String(large.rows));
    const growth = (large.peakRss - small.peakRss) / megabyte;
    assert.ok(growth < 20, `${growth} MB more for ${largest / megabyte} times the page`);
  });

  it("is refused when one resource never ends, before it fills the memory", async function () {
    this.timeout(120_000);
    const { refused, peakRss } = await readOne(async (response) => {
      response.write(
        '{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Binary","data":"',
      );
      await sendParts(response, largest, () => note);
      response.write('"}}]}');
    });
    assert.match(
      refused,
      /^search 1, page 1: a resource is larger than maxRecord \(1048576 bytes\)/,
    );
    assert.ok(peakRss < 150 * megabyte, String(peakRss));
  });
});
