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
      "tar:///var/x.tar": "tar:///var/x.tar",
      "tar:./x y.tar": `tar://${process.cwd()}/x%20y.tar`,
      "tar:/var/x.tar": "tar:///var/x.tar",
    };
    for (const [text, href] of Object.entries(accepted)) {
      assert.equal(checkDestinationUrl(text).href, href, text);
    }
  });

  it("list the known schemes when one is unknown", () => {
    for (const text of ["gs://bucket/x", "https://host/x", "constructor://x", "C:\\out"]) {
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
      ["file://host/x", /host/],
      ["file://./out", /host/],
      ["file:", /no path/],
      ["file:///a%2fb", /slash/],
      ["file:///a#b", /%23/],
      ["tar:///var/", /names a folder/],
      ["tar://x.tar", /host/],
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
    for (const scheme of ["s3", "https", "file", "tar"]) {
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
