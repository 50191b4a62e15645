/** What verbs tell people, read from the reports they give back: in this process, so that a terminal's colours do not matter. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ls } from "../../src/cli/ls.ts";
import { plan } from "../../src/cli/plan.ts";
import { readingOptions } from "../../src/cli/reading-options.ts";
import { scale } from "../../src/cli/scale.ts";
import { stageTable } from "../../src/cli/stage-table.ts";
import type { Call, Report } from "../../src/cli/verb.ts";
import { verify } from "../../src/cli/verify.ts";
import { makeExport, ndjsonPages } from "../fixtures/make-export.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { plainPaint } from "../fixtures/plain-paint.ts";
import { openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

const paint = plainPaint(160);
const textOf = (report: Report) => report.text(paint);

/** A call with these options, as `program.ts` would make it. */
function callOf(argument: string, options: Readonly<Record<string, string | number | true>> = {}) {
  const text = (option: string) => options[option] as string | undefined;
  const call: Call = {
    argument,
    operands: [argument],
    text,
    texts: () => [],
    flag: (option) => options[option] === true,
    count: (option) => options[option] as number | undefined,
    json: false,
    quiet: true,
    env: {},
  };
  return call;
}

describe("what is told of an export", () => {
  const folder = useFolder();
  const { privateKey } = generateKeyPairSync("ed25519");
  const make = (pages = 3, more: Parameters<typeof makeExport>[2] = {}) =>
    makeExport(folder.next(), ndjsonPages(pages, 1), { key: privateKey, ...more });

  it("by verify: how deep it looked, and whether the signer is the one demanded", async () => {
    const { folder: whole, signer } = await make();
    const text = textOf(await verify.run(callOf(whole, { signer, level: "quick" })));
    assert.match(text, /^✔ observations: 3 records, complete by its signed list\n/);
    assert.match(text, /signed by +ed25519:\S+ \(as demanded\)$/m);
    assert.match(text, /quick: .*; contents not read$/m);
  });

  it("by verify: each problem once, at most 20 of them, and in what the export is wanting", async () => {
    const damaged = await make(30);
    for (const name of damaged.names) await writeFile(join(damaged.folder, name), "other");
    const report = await verify.run(callOf(damaged.folder));
    assert.match(report.failure!.message, /^the export is damaged: 30 problems, the first: 0+\./);
    const lines = textOf(report).split("\n");
    assert.equal(lines.length, 21);
    assert.equal(lines.at(-1), "  … and 10 more; see --json");
    const { folder: begun } = await make(1, { unfinished: true });
    const unfinished = await verify.run(callOf(begun));
    assert.match(
      unfinished.failure!.message,
      /^the export is incomplete: it has no signed manifest/,
    );
    assert.equal(unfinished.failure?.code, "integrity-failed");
    assert.equal(textOf(unfinished), "", "said once");
  });

  it("by ls: what is not known of one that is not finished is a dash", async () => {
    const { folder: begun } = await make(1, { unfinished: true });
    const [head = "", line = ""] = textOf(await ls.run(callOf(begun))).split("\n");
    assert.match(head, /^Pipeline +Run +State +Pages +Records +Stored +Finished$/);
    assert.match(line, /incomplete +1 +- +.* +-$/);
  });

  it("is asked of the S3 place that the options name", async () => {
    const { signal } = new AbortController();
    const options = { endpoint: "http://127.0.0.1:9000", region: "eu-central-1" };
    const call = callOf("s3://bucket", { ...options, "path-style": true });
    assert.deepEqual(await readingOptions(call, signal), {
      signal,
      s3: { ...options, pathStyle: true },
    });
    assert.deepEqual(await readingOptions(callOf("s3://bucket"), signal), { signal, s3: {} });
  });
});

describe("what is told of a pipeline", () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await desk.write("rows.ndjson", rowsText(200));
    await desk.write("none.ndjson", "");
    await desk.write("rows.yaml", pipelineText({}));
  });
  after(() => desk.remove());
  const at = (name: string) => join(desk.folder, name);

  it("by scale: that sizes of so few rows show nothing", async () => {
    const few = scale.run(callOf(at("rows.yaml"), { most: 999 }));
    await assert.rejects(few, { code: "config-invalid", message: /expected at least 1,?000 rows/ });
    const text = textOf(await scale.run(callOf(at("rows.yaml"), { most: 1000 })));
    assert.match(text, /^ +Stage +10 rows +100 rows +200 rows +Grows/m);
    assert.match(text, /^ +upload .* - +not to be told$/m);
  });

  it("by plan: no share of no rows", async () => {
    const stages = ["select: [id]"];
    const rows = pipelineText({ stages }).replace("rows.ndjson", "none.ndjson");
    await desk.write("none.yaml", rows);
    const text = textOf(await plan.run(callOf(at("none.yaml"), { sample: 10 })));
    assert.match(text, /^Of the first 0 rows$/m);
    assert.match(text, /^ +select +0 +0 +- /m);
  });

  it("by the table of stages: no share of no time", () => {
    const stage = { name: "chunk", starvedSeconds: 1, blockedSeconds: 0, rows: 0, bytes: 0 };
    const [, line] = stageTable([{ ...stage, busySeconds: 0, peakHeldBytes: 0 }], paint);
    assert.match(line!, /chunk +0\.00 s +- +1\.00 s/);
  });
});
