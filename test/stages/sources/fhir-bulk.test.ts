import assert from "node:assert/strict";
import * as v from "valibot";
import { PipelineError } from "../../../src/errors.ts";
import type { RecordBatch } from "../../../src/stages/nouns.ts";
import type { Spool } from "../../../src/stages/pages/spool-store.ts";
import { fhirBulk, readFhirBulk } from "../../../src/stages/sources/fhir-bulk.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { createBulk, type Bulk, type BulkOptions } from "../../servers/fhir-bulk.ts";
import { makeObservations, outcomeText, sendOutcome, startFhir } from "../../servers/fhir.ts";
import type { TestFhirServer } from "../../servers/fhir.ts";

const resources = makeObservations(2600, 5);
const linesOf = (type: string) =>
  resources.filter((one) => one.type === type).map(({ text }) => text);
const observations = linesOf("Observation");
const deletion = `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/gone"}}]}`;
const usual: BulkOptions = {
  polls: 1,
  output: [
    { type: "Patient", lines: linesOf("Patient") },
    { type: "Observation", lines: observations.slice(0, 1500) },
    { type: "Observation", lines: observations.slice(1500) },
  ],
  deleted: [{ type: "Bundle", lines: [deletion] }],
  error: [{ type: "OperationOutcome", lines: [outcomeText("error", "processing")] }],
};
const textOf = (batches: readonly RecordBatch[]) =>
  Buffer.concat(batches.map(({ bytes }) => bytes)).toString();

/** A spool that can keep a note and nothing else. */
function noteSpool(note?: string): Pick<Spool, "readNote" | "writeNote"> {
  let kept = note;
  return {
    readNote: () => Promise.resolve(kept),
    writeNote: (text) => Promise.resolve(void (kept = text)),
  };
}

describe("fhir-bulk", () => {
  const servers: TestFhirServer[] = [];
  const start = async (options: BulkOptions = usual) => {
    const bulk = createBulk(options);
    const server = await startFhir({ resources: [] }, [bulk.intercept]);
    servers.push(server);
    return { bulk, server };
  };
  const contextWith = (note?: string) => testContext({ spool: noteSpool(note) as Spool });
  const read = (server: TestFhirServer, config: object = {}, context = contextWith()) =>
    collect(
      readFhirBulk(
        v.parse(fhirBulk.config, { url: server.base, export: "system", ...config }),
        context,
      ),
    );
  let shared: { bulk: Bulk; server: TestFhirServer };
  let empty: { server: TestFhirServer };

  before(async () => {
    shared = await start({ ...usual, polls: 0 });
    empty = await start({ output: [] });
  });
  after(() => Promise.all(servers.map((server) => server.close())));

  checkStageContract({
    stage: fhirBulk,
    config: () => ({ url: shared.server.base, export: "system" }),
    required: ["url", "export"],
    wrong: { export: "Group/../1", types: ["patient"], since: "yesterday", exportTimeout: "x" },
    context: () => ({ spool: noteSpool() as Spool }),
    empty: {
      config: () => ({ url: empty.server.base, export: "system" }),
      check: ([only], error) => {
        assert.equal(error, undefined);
        assert.equal(only?.end?.rows, 0);
      },
    },
  });

  it("gives data by type, files of a type in turns, then deletions, then errors", async () => {
    const { bulk, server } = await start();
    const warnings: string[] = [];
    const log = { info() {}, warn: (message: string) => void warnings.push(message) };
    const context = testContext({ spool: noteSpool() as Spool, log });
    const config = { types: ["Patient", "Observation"], since: "2026-01-01T00:00:00Z" };
    const batches = await read(server, config, context);
    const [first, second] = [observations.slice(0, 1500), observations.slice(1500)];
    const inTurns = [
      first.slice(0, 1000),
      second.slice(0, 1000),
      first.slice(1000),
      second.slice(1000),
    ];
    const expected = [
      ...inTurns.flat(),
      ...linesOf("Patient"),
      deletion,
      outcomeText("error", "processing"),
    ];
    assert.equal(textOf(batches), expected.map((line) => `${line}\n`).join(""));
    assert.deepEqual(batches[0]?.expects, { rows: 2607, exact: true });
    assert.deepEqual(batches.at(-1)?.end?.consistency, {
      class: "snapshot",
      proof: {
        transactionTime: "2026-01-02T03:04:05.678Z",
        output: 2605,
        deleted: 1,
        error: 1,
        duplicatesCut: 0,
        allRemembered: true,
      },
    });
    const [{ pathname, searchParams }] = bulk.kickOffs as [URL];
    assert.equal(pathname, "/fhir/$export");
    assert.equal(searchParams.get("_type"), "Patient,Observation");
    assert.equal(searchParams.get("_since"), "2026-01-01T00:00:00Z");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /1 problems .* OperationOutcome/);
  });

  it("passes over a byte order mark where a file begins, and nowhere else", async () => {
    const [first = "", ...others] = linesOf("Patient");
    const startWith = (...lines: string[]) => start({ output: [{ type: "Patient", lines }] });
    const marked = await startWith(`\ufeff${first}`, ...others);
    assert.equal(textOf(await read(marked.server)), [first, ...others, ""].join("\n"));
    const within = await startWith(first, `\ufeff${others[0]}`);
    const broken = { code: "source-bad-data", message: /resource 2: broken JSON/ };
    await assert.rejects(read(within.server), broken);
  });

  it("takes up the export of an earlier attempt instead of asking for another", async () => {
    const { bulk, server } = await start();
    const context = contextWith();
    await read(server, {}, context);
    await read(server, {}, context);
    assert.equal(bulk.kickOffs.length, 1);
  });

  it("says so when the server has forgotten the export that a run began with", async () => {
    const { bulk, server } = await start();
    const context = contextWith();
    await read(server, {}, context);
    const config = v.parse(fhirBulk.config, { url: server.base, export: "system" });
    await fhirBulk.settle!(config, context);
    assert.deepEqual(bulk.removed, ["/status/1"]);
    await assert.rejects(read(server, {}, context), {
      code: "source-changed",
      message: /no longer has the export .* --restart/,
    });
  });

  it("goes on behind the last line where a file with a strong ETag breaks off", async () => {
    const breakAfter = (path: string, attempt: number) =>
      path.includes("output-1") && attempt <= 2 ? 90_000 : undefined;
    const { bulk, server } = await start({ ...usual, breakAfter });
    const whole = textOf(await read(shared.server));
    assert.equal(textOf(await read(server)), whole);
    const ranges = bulk.reads.filter((path) => path.includes("output-1"));
    assert.match(ranges.join(), /^[^,]* whole,[^,]* bytes=\d{5}-,[^,]* bytes=\d{6}-$/);
  });

  it("reads a file again that has no strong ETag, and compares what came already", async () => {
    const breakAfter = (path: string, attempt: number) =>
      path.includes("output-1") && attempt === 1 ? 90_000 : undefined;
    const { bulk, server } = await start({ ...usual, etag: () => `W/"v1"`, breakAfter });
    assert.equal(textOf(await read(server)), textOf(await read(shared.server)));
    assert.equal(bulk.reads.filter((one) => one === "/files/output-1.ndjson whole").length, 2);
  });

  it("refuses a file that changed while it was read", async () => {
    let attempts = 0;
    const changing = await startFhir({ resources: [] }, [
      (request, response) => {
        if (!request.url.pathname.includes("output-0")) return false;
        attempts += 1;
        const lines = linesOf("Patient").map((line) => line.replace("Secret", `Secret${attempts}`));
        const body = `${lines.join("\n")}\n`;
        response.writeHead(200, {
          "content-type": "application/fhir+ndjson",
          "content-length": body.length,
        });
        if (attempts > 1) response.end(body);
        else response.write(body.slice(0, -20), () => response.destroy());
        return true;
      },
      createBulk({ ...usual, output: usual.output.slice(0, 1) }).intercept,
    ]);
    servers.push(changing);
    await assert.rejects(read(changing), {
      code: "source-changed",
      message: /^file 1 \(Patient\) broke off, and read again it has other resources/,
    });
  });

  it("holds the manifest's counts against the lines", async () => {
    const { server } = await start({
      output: [{ type: "Patient", lines: linesOf("Patient"), count: 6 }],
    });
    await assert.rejects(read(server), {
      code: "source-failed",
      message: /^file 1 \(Patient\) has 5 lines, the export's manifest says 6/,
    });
  });

  it("sends no credentials to files elsewhere, and reads none there that need them", async () => {
    const { server: elsewhere, bulk: files } = await start({ ...usual, polls: 0 });
    await read(elsewhere);
    const open = { ...usual, requiresAccessToken: false, filesAt: elsewhere.origin };
    const { server } = await start(open);
    const auth = { token: "secret-token" };
    assert.equal(textOf(await read(server, { auth })), textOf(await read(shared.server)));
    assert.ok(files.reads.length > 5);
    assert.ok(elsewhere.requests.every(({ headers }) => headers.authorization === undefined));
    assert.ok(server.requests.every(({ headers }) => headers.authorization !== undefined));
    const { server: closed } = await start({ ...open, requiresAccessToken: true });
    await assert.rejects(read(closed, { auth }), {
      code: "source-refused",
      message: /another host/,
    });
  });

  it("tells what an export failed with by its codes alone", async () => {
    const failing = await startFhir({ resources: [] }, [
      ({ url }, response) => {
        if (!url.pathname.startsWith("/status/")) return false;
        sendOutcome(response, 422, "too-costly");
        return true;
      },
      createBulk(usual).intercept,
    ]);
    servers.push(failing);
    await assert.rejects(read(failing), (error) => {
      assert.ok(error instanceof PipelineError);
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /422, error: too-costly/);
      assert.doesNotMatch(error.message, /secret|555/);
      return true;
    });
  });
});
