import assert from "node:assert/strict";
import { inspect } from "node:util";
import { addressOf } from "../../../src/stages/destinations/azblob-request.ts";
import { targetOf } from "../../../src/stages/destinations/azblob-target.ts";
import { openAzblob } from "../../../src/stages/destinations/azblob.ts";
import type { AzblobOptions } from "../../../src/stages/destinations/destination.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
} from "../../contract/destination-contract.ts";
import { patience } from "../../contract/http-store-faults.ts";
import { type ScriptedAzblob, refuse, startScriptedAzblob } from "../../servers/scripted-azblob.ts";

const never = new AbortController().signal;
const canary = Buffer.from("c4n4ry-s3cr3t").toString("base64");
const url = new URL("azblob://account/container/some/prefix");
const page = objectOf("p/r/page", "the page");

describe("destination azblob", () => {
  let store: ScriptedAzblob;
  const open = (extra: AzblobOptions = { accountKey: canary }) =>
    openAzblob(
      url,
      { timeoutMillis: 2000, azblob: { endpoint: store.endpoint, ...extra } },
      patience,
    );

  before(async () => void (store = await startScriptedAzblob("container")));
  after(() => store.stop());
  afterEach(() => {
    store.objects.clear();
    store.requests.length = 0;
    store.headers.length = 0;
  });

  destinationContract(open, async () => store.objects.clear());

  it("stores an object with one request", async () => {
    const destination = await open();
    await destination.put(page, never);
    await destination.close();
    assert.deepEqual(store.requests, ["PUT some/prefix/p/r/page"]);
    assert.equal(store.headers[0]?.["if-none-match"], "*");
    assert.match(String(store.headers[0]?.authorization), /^SharedKey account:[A-Za-z0-9+/]{43}=$/);
  });

  it("believes a signature that may create but not overwrite, when it is told that a name is taken", async () => {
    const destination = await open();
    store.faults.push({
      on: "PUT",
      play: ({ response }) => refuse(response, 403, "UnauthorizedBlobOverwrite"),
    });
    store.objects.set("some/prefix/p/r/page", { bytes: Buffer.from("the page"), meta: {} });
    await destination.put(page, never);
    await destination.close();
  });

  it("goes through all pages of a listing", async () => {
    store.keysPerListing = 3;
    const names = Array.from({ length: 10 }, (_, index) => `p/r/${index}&<+ x`);
    for (const name of names)
      store.objects.set(`some/prefix/${name}`, { bytes: Buffer.from("x"), meta: {} });
    const destination = await open();
    const listed = await listAll(destination, "p/r");
    assert.deepEqual(
      listed.map(({ name }) => name),
      names,
    );
    assert.equal(store.requests.length, 4);
    await destination.close();
    store.keysPerListing = 1000;
  });

  it("signs as the service's documentation shows", () => {
    const target = targetOf(new URL("azblob://myaccount/mycontainer"), { accountKey: canary }, {});
    const query = { restype: "container", comp: "list", prefix: "a b+c" };
    const now = new Date("2026-01-02T03:04:05Z");
    const { path, headers } = addressOf(target, { method: "GET", query }, now);
    assert.equal(path, "/mycontainer?restype=container&comp=list&prefix=a%20b%2Bc");
    assert.equal(headers["x-ms-date"], "Fri, 02 Jan 2026 03:04:05 GMT");
    // HMAC-SHA256 over the text that the documentation prescribes, made with Python.
    assert.equal(
      headers.authorization,
      "SharedKey myaccount:/WWuVw3Qc/INaY2Mn5bxTtycn3tJSTdo4htrLglPb/8=",
    );
  });

  it("takes credentials from the options, then from the variables of Azure's tools", () => {
    const of = (options: AzblobOptions, environment = {}) =>
      targetOf(url, options, environment).credentials;
    assert.deepEqual(of({ sas: "?sv=1&sig=x" }), { sas: "sv=1&sig=x" });
    assert.deepEqual(of({ sas: "a=b" }, { AZURE_STORAGE_KEY: canary }), { sas: "a=b" });
    assert.deepEqual(of({}, { AZURE_STORAGE_SAS_TOKEN: "a=b" }), { sas: "a=b" });
    assert.ok("key" in of({}, { AZURE_STORAGE_KEY: canary, AZURE_STORAGE_SAS_TOKEN: "a=b" }));
    for (const bad of [{}, { accountKey: "not base64!" }])
      assert.throws(() => of(bad), { code: "config-invalid" });
    assert.throws(
      () => of({ accountKey: `${canary}!` }),
      (error) => !inspect(error).includes(canary),
    );
  });

  it("finds the account's own endpoint, another one, or an emulator's", () => {
    const of = (endpoint?: string) =>
      targetOf(url, { accountKey: canary, ...(endpoint !== undefined && { endpoint }) }, {});
    assert.equal(of().origin.href, "https://account.blob.core.windows.net/");
    assert.equal(of().basePath, "/container");
    assert.equal(of().keyPrefix, "some/prefix/");
    assert.equal(of("http://127.0.0.1:10000/devaccount").basePath, "/devaccount/container");
    for (const bad of ["account", "ftp://host", "https://u:p@host", "https://host?sig=1"])
      assert.throws(() => of(bad), { code: "config-invalid" });
  });

  it("shows no secret, whatever goes wrong", async () => {
    const destination = await open({ sas: `sig=${canary}` });
    store.faults.push({
      on: "PUT",
      play: ({ response }) => refuse(response, 403, "AuthenticationFailed"),
    });
    const error = await expectError("destination-refused", destination.put(page, never));
    assert.ok(!inspect(error, { depth: 9 }).includes(canary));
    assert.ok(!inspect(destination, { depth: 9 }).includes(canary));
    assert.match(error.message, /403 AuthenticationFailed; check the credentials/);
    await destination.close();
  });
});
