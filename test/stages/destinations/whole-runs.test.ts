/** Whole runs to stores that speak HTTP, and their way back: rows, manifest, proof, and what `doctor` says before. */
import assert from "node:assert/strict";
import { run } from "../../../src/pipeline/run.ts";
import { verifyExport } from "../../../src/readback/verify.ts";
import { probeDestination } from "../../../src/stages/destinations/schemes.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import { chunk } from "../../../src/stages/pages/chunk.ts";
import { compress } from "../../../src/stages/pages/compress.ts";
import { encrypt } from "../../../src/stages/pages/encrypt.ts";
import { spool } from "../../../src/stages/pages/spool.ts";
import { upload } from "../../../src/stages/pages/upload.ts";
import { countedRows, defineUnchecked, testEnv, useFolder } from "../../fixtures/pipelines.ts";
import { type ScriptedAzblob, startScriptedAzblob } from "../../servers/scripted-azblob.ts";
import { type ScriptedWeb, startScriptedWeb } from "../../servers/scripted-web.ts";

const never = new AbortController().signal;
const accountKey = "a2V5";

describe("a whole run", () => {
  const folder = useFolder();
  let web: ScriptedWeb;
  let azure: ScriptedAzblob;

  before(async () => {
    web = await startScriptedWeb("top");
    azure = await startScriptedAzblob("container");
    process.env.AZURE_STORAGE_KEY = accountKey;
  });
  after(async () => {
    delete process.env.AZURE_STORAGE_KEY;
    await web.stop();
    await azure.stop();
  });

  const exportTo = async (to: string, more: object = {}) => {
    const pipeline = defineUnchecked({
      name: "whole",
      memory: "512MiB",
      sign: "${env:SIGN_KEY}",
      stages: [
        countedRows({ rows: 2000 }),
        serialize("ndjson"),
        chunk("4KiB"),
        compress("zstd"),
        encrypt({ mode: "none" }),
        spool({ dir: folder.next(), maxBytes: "1GiB" }),
        upload({ to, ...more }),
      ],
    });
    const summary = await run(pipeline, { env: testEnv });
    assert.equal(summary.state, "committed");
    assert.ok(summary.pages > 5);
    return summary;
  };
  const levelsOf = async (to: string, more: object = {}) => {
    const asked = { timeoutMillis: 5000, folder: "whole", signal: never, ...more };
    const findings = await Array.fromAsync(probeDestination(to, asked));
    return findings.map(({ level, check }) => `${level} ${check}`);
  };

  it("goes to Azure Blob Storage and is verified there", async () => {
    const [to, { endpoint }] = ["azblob://account/container/x", azure];
    assert.deepEqual(await levelsOf(to, { azblob: { endpoint, accountKey } }), [
      "ok credentials",
      "ok endpoint",
      "ok writing",
      "ok no overwriting",
      "ok reading back",
    ]);
    assert.equal(azure.objects.size, 0);
    const { pages } = await exportTo(to, { endpoint, accountKey });
    const report = await verifyExport(to, { level: "full", s3: { endpoint } });
    assert.deepEqual([report.problems, report.pages], [[], pages]);
  });

  it("goes to a WebDAV folder and is verified there", async () => {
    const to = `${web.endpoint}/top/dav/`;
    const findings = await levelsOf(to);
    assert.deepEqual(findings, [
      "ok endpoint",
      "ok writing",
      "ok no overwriting",
      "ok reading back",
    ]);
    assert.equal(web.objects.size, 0);
    const { pages } = await exportTo(to);
    const report = await verifyExport(to, { level: "full" });
    assert.deepEqual([report.problems, report.pages], [[], pages]);
  });

  it("goes to a receiver that lists nothing, and is verified by its run's URL", async () => {
    Object.assign(web, { hasFolders: false, tellsDigests: false });
    const to = `${web.endpoint}/top/plain/`;
    assert.ok((await levelsOf(to)).includes("warn listing"));
    const { pages, destination } = await exportTo(to);
    const report = await verifyExport(destination, { level: "full" });
    assert.deepEqual([report.problems, report.pages], [[], pages]);
    const page = [...web.objects.keys()].find((name) => /^plain.*\/00000003/.test(name))!;
    web.objects.delete(page);
    const broken = await verifyExport(destination, { level: "quick" });
    assert.match(JSON.stringify(broken.problems), /00000003.*is missing/);
  });

  it("tells the URL by which it is read back, whatever the destination's was, and that of its manifest", async () => {
    Object.assign(web, { hasFolders: false, tellsDigests: false });
    const own = `${web.endpoint}/top`;
    const bundle = `tar:${folder.next()}/a b.tar`;
    for (const to of [`${own}/files/{name}/content`, `${own}/x//`, folder.next(), bundle]) {
      const { runId, pages, destination, manifest } = await exportTo(to);
      const report = await verifyExport(destination, { level: "full" });
      assert.deepEqual([report.problems, report.run, report.pages], [[], runId, pages]);
      assert.match(manifest, new RegExp(`/whole/${runId}/manifest\\.json(?:/content)?$`));
      if (manifest.startsWith("http:")) assert.equal((await fetch(manifest)).status, 200);
    }
  });
});
