/** Listings as web servers may send them. */
import assert from "node:assert/strict";
import { openHttps } from "../../../src/stages/destinations/https.ts";
import { expectError, listAll, objectOf, readAll } from "../../contract/destination-contract.ts";
import { patience } from "../../contract/http-store-faults.ts";
import type { Call } from "../../servers/scripted-store.ts";
import {
  type ScriptedWeb,
  fileXml,
  folderXml,
  listingXml,
  startScriptedWeb,
} from "../../servers/scripted-web.ts";

const never = new AbortController().signal;

describe("a listing of a web server", () => {
  let web: ScriptedWeb;
  before(async () => {
    web = await startScriptedWeb("top");
  });
  after(() => web.stop());
  afterEach(() => {
    web.script = undefined;
    web.hasFolders = true;
    web.objects.clear();
  });

  /** Answers requests of one method; all others go to the healthy server. */
  const answer = (method: string, play: (call: Call) => void) => {
    web.script = (call, early) => (call.method === method && !early ? play : undefined);
  };
  const says = (content: string) =>
    answer("PROPFIND", ({ response }) => void response.writeHead(207).end(listingXml(content)));
  const list = async (folder = "p", path = "/top/") => {
    const options = { timeoutMillis: 2000 };
    const destination = await openHttps(new URL(web.endpoint + path), options, patience);
    try {
      return await listAll(destination, folder);
    } finally {
      await destination.close();
    }
  };
  const own = folderXml("/top/p/");

  it("may call the folder by its name without a slash, and files by their whole address", async () => {
    says(folderXml("/top/p") + fileXml(`${web.endpoint}/top/p/a%20b`, 3) + fileXml("c", 4));
    assert.deepEqual(await list(), [
      { name: "p/a b", bytes: 3 },
      { name: "p/c", bytes: 4 },
    ]);
  });

  it("leaves out a folder that was removed while it was listed", async () => {
    answer("PROPFIND", ({ key, response }) => {
      if (key !== "p/") response.writeHead(404).end();
      else response.writeHead(207).end(listingXml(own + folderXml("/top/p/gone/")));
    });
    assert.deepEqual(await list(), []);
  });

  it("that cannot be read is refused, never taken for a short one", async () => {
    const sizeless = fileXml("/top/p/a", 1).replace(/<D:getcontentlength>.*<\/D:getc[^>]*>/, "");
    for (const content of [
      fileXml("/elsewhere/a", 1),
      fileXml("/top/p/%ff", 1),
      fileXml("/top/p/x/deeper", 1),
      fileXml("/top/p/a", 1).replace(/<D:href>.*<\/D:href>/, ""),
      sizeless,
      `<D:response>${"x".repeat(70_000)}`,
    ]) {
      says(own + content);
      await expectError("destination-failed", list());
    }
  });

  it("is made of the sums where names are put into a template, and of what still is there", async () => {
    web.hasFolders = false;
    const path = "/top/files/{name}/content";
    const options = { timeoutMillis: 2000 };
    const destination = await openHttps(new URL(web.endpoint + path), options, patience);
    const sums = `${"a".repeat(64)}  0.x\n${"b".repeat(64)}  1.x\n`;
    await destination.put(objectOf("p/0.x", "page"), never);
    await destination.put(objectOf("p/SHA256SUMS", sums), never);
    assert.equal(String(await readAll(destination, "p/0.x")), "page");
    await destination.close();
    assert.deepEqual(await list("p", path), [
      { name: "p/0.x", bytes: 4 },
      { name: "p/SHA256SUMS", bytes: sums.length },
    ]);
  });

  it("by sums has an object's size, or fails", async () => {
    web.hasFolders = false;
    web.objects.set("p/SHA256SUMS", { bytes: Buffer.from(`${"a".repeat(64)}  0.x\n`), meta: {} });
    answer("HEAD", ({ response }) => {
      response.writeHead(200, { "transfer-encoding": "chunked" }).end();
    });
    await expectError("destination-failed", list());
    answer("HEAD", ({ response }) => void response.writeHead(403).end());
    await expectError("destination-refused", list());
    answer("HEAD", ({ response }) => void response.writeHead(410).end());
    assert.deepEqual(await list(), []);
  });
});
