/** A few of the trials that `npm run prove:stores` runs by the hundred, and stores whose word is worth nothing. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { proveRealStore } from "../../prove/stores/real-store.ts";
import {
  bucket,
  judgeStore,
  pipelineOf,
  prepare,
  type Exported,
} from "../../prove/stores/oracle.ts";
import { proveStores } from "../../prove/stores.ts";
import { run } from "../../src/pipeline/run.ts";
import { rgwInstalled } from "../servers/rgw.ts";
import { sshdInstalled } from "../servers/sshd.ts";
import { type Fault, type ScriptedS3, keep, startScriptedS3 } from "../servers/scripted-s3.ts";

describe("exports to a store that fails by chance", () => {
  it("commit, and hold each row once", async function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 1e6);
    const { trials, lost, failures } = await proveStores({ trials: 2, seed, rows: 200 });
    assert.equal(trials, 2);
    assert.ok(lost > 0);
    assert.deepEqual(failures, [], `replay with --seed ${seed} --rows 200`);
  });

  const installed = { s3: rgwInstalled, sftp: sshdInstalled };
  for (const [kind, name] of [
    ["s3", "Ceph RGW"],
    ["sftp", "OpenSSH"],
  ] as const)
    it(`do so before ${name}, whose answers are cut off`, async function () {
      if (!installed[kind]()) this.skip();
      this.timeout(120_000);
      const seed = Math.floor(Math.random() * 1e6);
      const { failures } = await proveRealStore({ trials: 1, seed, rows: 320, lost: 1 }, kind);
      assert.deepEqual(
        failures,
        [],
        `replay with --real ${kind} --seed ${seed} --rows 320 --lost 1`,
      );
    });
});

describe("an export to a store whose word is worth nothing", () => {
  let folder: string;
  let store: ScriptedS3;
  let exported: Exported;
  const toOf = (name: string) => `s3://${bucket}/${name}`;
  const s3 = () => ({ endpoint: store.endpoint, accessKeyId: "id", secretAccessKey: "secret" });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-liars-"));
    exported = await prepare(folder, 200, 1);
    store = await startScriptedS3(bucket);
  });
  after(async () => {
    await store.stop();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(() => {
    store.script = undefined;
    store.objects.clear();
  });

  const export_ = (name: string) =>
    run(pipelineOf(exported, join(folder, name), toOf(name), s3()), { env: exported.env });
  const isPage = (key: string, page: number) => key.includes(`/0000000${page}.`);
  const ofPage = (on: Fault["on"], page: number, play: Fault["play"]) => {
    store.script = (call, early) =>
      !early && call.method === on && isPage(call.key, page) ? play : undefined;
  };
  const hasManifest = () => [...store.objects.keys()].some((key) => key.endsWith("/manifest.json"));

  it("ends without a manifest where half of a page was kept and all of it confirmed", async () => {
    ofPage("PUT", 3, (call) => {
      call.serve(call.body.subarray(0, call.body.length / 2));
    });
    await assert.rejects(export_("half"), { code: "integrity-failed", exitCode: 6 });
    assert.ok(!hasManifest());
  });

  it("ends without a manifest where a page was confirmed and is gone", async () => {
    let gone = 0;
    // The commit's listing is the first read there is.
    store.script = (call) => {
      if (call.method !== "GET") return undefined;
      for (const key of [...store.objects.keys()].filter((name) => isPage(name, 5)))
        gone += Number(store.objects.delete(key));
      return undefined;
    };
    await assert.rejects(export_("gone"), { code: "integrity-failed" });
    assert.equal(gone, 1);
    assert.ok(!hasManifest());
  });

  it("overwrites nothing where somebody else's object has a page's name", async () => {
    ofPage("PUT", 2, (call) => {
      keep(store, call, Buffer.from("somebody else's"));
      call.serve();
    });
    await assert.rejects(export_("taken"), { code: "foreign-object", exitCode: 6 });
    const [key = ""] = [...store.objects.keys()].filter((name) => isPage(name, 2));
    assert.equal(String(store.objects.get(key)?.bytes), "somebody else's");
    assert.ok(!hasManifest());
  });

  it("stops where credentials expire, keeps what is durable, and goes on with new ones", async () => {
    let puts = 0;
    store.script = (call, early) => {
      if (early || call.method !== "PUT" || (puts += 1) < 6) return undefined;
      return ({ response }) =>
        void response.writeHead(400).end("<Error><Code>ExpiredToken</Code></Error>");
    };
    const dir = join(folder, "expired");
    await assert.rejects(export_("expired"), (error: Error) => {
      assert.match(error.message, /400 ExpiredToken; check the credentials/);
      return true;
    });
    store.script = undefined;
    const { runId, resumedFrom } = await export_("expired");
    assert.equal(resumedFrom, runId);
    const to = toOf("expired");
    assert.equal(await judgeStore(exported, { dir, to, s3: s3(), runs: [runId] }), undefined);
  });

  it("commits where the listing shows nothing yet", async () => {
    store.script = (call, early) => {
      if (early || call.key !== "") return undefined;
      const xml = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
      return ({ response }) => void response.end(xml);
    };
    const { runId } = await export_("lagging");
    store.script = undefined;
    const dir = join(folder, "lagging");
    const to = toOf("lagging");
    assert.equal(await judgeStore(exported, { dir, to, s3: s3(), runs: [runId] }), undefined);
  });
});
