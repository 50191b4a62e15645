import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import type { HttpsOptions } from "../../../src/stages/destinations/destination.ts";
import { openHttps } from "../../../src/stages/destinations/https.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";
import { patience } from "../../contract/http-store-faults.ts";
import type { Call } from "../../servers/scripted-store.ts";
import { type ScriptedWeb, startScriptedWeb } from "../../servers/scripted-web.ts";

const never = new AbortController().signal;
const canary = "c4n4ry-s3cr3t";
const page = objectOf("p/r/page", "the page");

describe("destination https", () => {
  let web: ScriptedWeb;
  const open = (https: HttpsOptions = {}, path = "/top/some/prefix/") =>
    openHttps(new URL(web.endpoint + path), { timeoutMillis: 2000, https }, patience);
  const reset = () => {
    web.objects.clear();
    web.folders.clear();
    web.folders.add("").add("some/");
  };

  before(async () => {
    web = await startScriptedWeb("top");
    reset();
  });
  after(() => web.stop());
  afterEach(() => {
    reset();
    web.requests.length = 0;
    web.headers.length = 0;
    Object.assign(web, {
      hasFolders: true,
      tellsDigests: true,
      hasHead: true,
      conditions: "honour",
    });
  });

  describe("against a server that speaks WebDAV", () =>
    destinationContract(open, async () => reset()));

  it("sends a digest, a condition and a key that is the same for each attempt", async () => {
    const destination = await open({ authorization: `Bearer ${canary}`, query: "?sig=a%2Bb" });
    await destination.put(page, never);
    await destination.put(page, never);
    await destination.put(objectOf("p/r/other", "the page"), never);
    await destination.close();
    const puts = web.headers.filter(({ "if-none-match": condition }) => condition === "*");
    const digest = createHash("sha256").update("the page").digest("base64");
    assert.equal(puts[0]?.["content-digest"], `sha-256=:${digest}:`);
    assert.equal(puts[0]?.["content-length"], "8");
    assert.ok(web.headers.every(({ authorization }) => authorization === `Bearer ${canary}`));
    const keys = new Set(puts.map(({ "idempotency-key": key }) => key));
    assert.equal(keys.size, 2);
    assert.match(String(puts[0]?.["idempotency-key"]), /^"[0-9a-f]{64}"$/);
  });

  it("says that the folder above its own is missing, which it does not make", async () => {
    web.folders.clear();
    web.folders.add("");
    const destination = await open();
    const error = await expectError("destination-refused", destination.put(page, never));
    assert.match(error.message, /the folder above the destination's/);
    await destination.close();
  });

  it("makes the folders a server wants to be made first, and only then", async () => {
    const destination = await open();
    await destination.put(page, never);
    await destination.put(objectOf("p/r/next", "x"), never);
    await destination.close();
    const made = web.requests.filter((request) => request.startsWith("MKCOL"));
    assert.deepEqual(
      made,
      ["", "p/", "p/r/"].map((folder) => `MKCOL some/prefix/${folder}`),
    );
  });

  it("goes on where a put beside it makes the folders first, whatever a server says to a missing one", async () => {
    for (const status of [404, 409]) {
      reset();
      const play = ({ response }: Call) => {
        for (const folder of ["some/prefix/", "some/prefix/p/", "some/prefix/p/r/"])
          web.folders.add(folder);
        response.writeHead(status).end();
      };
      web.faults.push({ on: "PUT", play });
      const destination = await open();
      await destination.put(page, never);
      assert.equal(String(await readAll(destination, page.name)), "the page");
      await destination.close();
    }
  });

  it("reads back what a server says nothing of", async () => {
    web.tellsDigests = false;
    const destination = await open();
    await destination.put(page, never);
    await destination.close();
    assert.ok(web.requests.includes("GET some/prefix/p/r/page"));
  });

  describe("against a receiver that knows nothing but objects", () => {
    beforeEach(() => void Object.assign(web, { hasFolders: false, tellsDigests: false }));

    it("stores objects, takes them twice, and refuses others", async () => {
      const destination = await open();
      await destination.put(page, never);
      await destination.put(page, never);
      await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
      assert.equal(String(await readAll(destination, "p/r/page")), "the page");
      await destination.close();
    });

    it("does without HEAD", async () => {
      web.hasHead = false;
      const destination = await open();
      await destination.put(page, never);
      await destination.put(page, never);
      await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
      await destination.close();
    });

    it("never overwrites where conditions are ignored or refused: it asks first", async () => {
      for (const conditions of ["ignore", "refuse"] as const) {
        web.conditions = conditions;
        const destination = await open();
        await destination.put(page, never);
        await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
        await destination.close();
        web.objects.clear();
      }
    });

    it("lists what a run's SHA256SUMS names, as far as it is there", async () => {
      const destination = await open();
      assert.deepEqual(await listAll(destination, "p/r"), []);
      const sums = ["0", "1", "2"].map((name) => `${"a".repeat(64)}  ${name}.x\n`).join("");
      for (const name of ["0.x", "2.x", "manifest.json"])
        await destination.put(objectOf(`p/r/${name}`, name), never);
      await destination.put(objectOf("p/r/SHA256SUMS", sums), never);
      const listed = await listAll(destination, "p/r");
      assert.deepEqual(
        listed.map(({ name }) => name),
        ["p/r/0.x", "p/r/2.x", "p/r/SHA256SUMS", "p/r/manifest.json"],
      );
      assert.equal(listed[0]?.bytes, 3);
      await destination.put(objectOf("q/r/SHA256SUMS", "../../etc/passwd\n"), never);
      await expectError("destination-failed", listAll(destination, "q/r"));
      await destination.close();
    });

    it("puts names where a template says", async () => {
      const destination = await open({}, "/top/files/{name}/content");
      await destination.put(page, never);
      assert.equal(String(await readAll(destination, "p/r/page")), "the page");
      assert.deepEqual([...web.objects.keys()], ["files/p/r/page/content"]);
      await destination.close();
    });
  });

  it("refuses a server that does not let what it took be read", async () => {
    web.script = ({ method }) =>
      method === "PUT" ? undefined : ({ response }) => void response.writeHead(403).end();
    web.tellsDigests = false;
    const destination = await open();
    web.folders.add("some/prefix/").add("some/prefix/p/").add("some/prefix/p/r/");
    const error = await expectError("destination-refused", destination.put(page, never));
    assert.match(error.message, /expected credentials that may read/);
    await destination.close();
    web.script = undefined;
  });

  it("shows no secret, and goes on without trusted TLS nowhere", async () => {
    const options = { authorization: `Bearer ${canary}`, query: `sig=${canary}` };
    const destination = await openHttps(
      new URL(web.endpoint.replace("http:", "https:")),
      { timeoutMillis: 2000, https: options },
      patience,
    );
    const error = await expectError("destination-refused", destination.put(page, never));
    assert.match(error.message, /no trusted TLS connection to the web server/);
    assert.ok(!inspect([error, destination], { depth: 9 }).includes(canary));
    await destination.close();
    await expectError("config-invalid", open({ authorization: "a\nb" }));
  });
});
