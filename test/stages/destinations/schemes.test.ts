import assert from "node:assert/strict";
import { inspect } from "node:util";
import { checkDestinationUrl, openDestination } from "../../../src/stages/destinations/schemes.ts";
import { PipelineError } from "../../../src/errors.ts";

const canary = "c4n4ry";

function refusalOf(text: string): PipelineError {
  try {
    checkDestinationUrl(text);
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    assert.equal(error.code, "config-invalid");
    return error;
  }
  return assert.fail(`${text} was accepted`);
}

describe("destination schemes", () => {
  it("take URLs, and paths from the working folder", () => {
    const here = `file://${process.cwd()}`;
    const accepted = {
      "s3://bucket": "s3://bucket",
      "s3://my-bucket.x/some/prefix/": "s3://my-bucket.x/some/prefix/",
      "file:///var/out": "file:///var/out",
      "FILE:///var/out": "file:///var/out",
      "file:./out": `${here}/out`,
      "./out": `${here}/out`,
      "out/a b#?%": `${here}/out/a%20b%23%3F%25`,
      "/var/out": "file:///var/out",
      "azblob://account/container": "azblob://account/container",
      "azblob://account/a-b-c/some prefix/": "azblob://account/a-b-c/some%20prefix/",
      "https://host:8443/dav/out/": "https://host:8443/dav/out/",
      "https://host/in/{name}/content": "https://host/in/%7Bname%7D/content",
      "http://127.0.0.1:8080": "http://127.0.0.1:8080/",
      "sftp://me@host:2222/~/out/": "sftp://me@host:2222/~/out/",
      "tar:///var/x.tar": "tar:///var/x.tar",
      "tar:./x y.tar": `tar://${process.cwd()}/x%20y.tar`,
      "tar:/var/x.tar": "tar:///var/x.tar",
    };
    for (const [text, href] of Object.entries(accepted)) {
      assert.equal(checkDestinationUrl(text).href, href, text);
    }
  });

  it("list the known schemes when one is unknown", () => {
    for (const text of ["gs://bucket/x", "ftp://host/x", "constructor://x", "C:\\out"]) {
      assert.match(refusalOf(text).message, /file:\/\/, s3:\/\/, tar:\/\//);
    }
  });

  it("refuse what cannot mean a place", () => {
    const refused = [
      ["", /empty/],
      ["a\0b", /NUL/],
      ["s3:bucket", /bucket/],
      ["s3://", /bucket|URL/],
      ["s3://B", /bucket/],
      ["s3://bucket:9000/x", /bucket/],
      ["s3://bucket/a//b", /not safe/],
      ["s3://bucket/x?y", /%3F/],
      ["s3://bucket/%", /%25/],
      ["azblob://account", /container/],
      ["azblob://Account.x/container", /account/],
      ["azblob://account/a--b", /container/],
      ["azblob://account/container/a//b", /not safe/],
      ["https://host/x?sig=1", /`query: /],
      ["https://host/{name}/{name}", /twice/],
      ["http://host/x", /without encryption/],
      ["sftp://host/x", /no user/],
      ["sftp://user@host/x?y", /%3F/],
      ["sftp://user@host/a//b", /not safe/],
      ["file://host/x", /host/],
      ["file://./out", /host/],
      ["file:", /no path/],
      ["file:///a%2fb", /slash/],
      ["file:///a#b", /%23/],
      ["tar:///var/", /names a folder/],
      ["tar://x.tar", /host/],
      ["postgres://user@host:5432", /names no database/],
    ] as const;
    for (const [text, message] of refused) {
      assert.match(refusalOf(text).message, message, text);
    }
  });

  it("climb nowhere: `..` in a URL ends at its bucket", () => {
    assert.equal(checkDestinationUrl("s3://bucket/a/../../b").href, "s3://bucket/b");
    assert.equal(checkDestinationUrl("s3://bucket/%2e%2e/b").href, "s3://bucket/b");
  });

  it("refuse users and passwords without repeating them", () => {
    for (const scheme of ["s3", "azblob", "https", "sftp", "file", "tar"]) {
      const error = refusalOf(`${scheme}://user:${canary}@bucket/prefix`);
      assert.ok(!inspect(error, { depth: 9 }).includes(canary));
    }
    assert.match(refusalOf(`s3://user:${canary}@bucket/prefix`).message, /credentials/);
  });

  it("refuse to open what they refuse to check", async () => {
    const opening = openDestination("gs://bucket", { timeoutMillis: 1000 });
    await assert.rejects(opening, { code: "config-invalid" });
  });
});
