import assert from "node:assert/strict";
import { targetOf } from "../../../src/stages/destinations/s3-target.ts";

const keys = { AWS_ACCESS_KEY_ID: "env-id", AWS_SECRET_ACCESS_KEY: "env-secret" };
const url = new URL("s3://bucket/a%20b/c/");

describe("s3 target", () => {
  it("is Amazon's host for the bucket and region unless told otherwise", () => {
    const target = targetOf(url, {}, { ...keys, AWS_REGION: "eu-central-1" });
    assert.equal(target.origin.href, "https://bucket.s3.eu-central-1.amazonaws.com/");
    assert.equal(target.basePath, "");
    assert.equal(target.keyPrefix, "a b/c/");
    assert.equal(target.region, "eu-central-1");
    const hostOf = (region: string) => targetOf(url, { region }, keys).origin.host;
    assert.equal(hostOf("cn-north-1"), "bucket.s3.cn-north-1.amazonaws.com.cn");
    assert.equal(hostOf("eusc-de-east-1"), "bucket.s3.eusc-de-east-1.amazonaws.eu");
    assert.equal(hostOf("us-gov-west-1"), "bucket.s3.us-gov-west-1.amazonaws.com");
  });

  it("puts a bucket with dots into the path, where its certificate fits", () => {
    const target = targetOf(new URL("s3://my.bucket"), {}, keys);
    assert.equal(target.origin.href, "https://s3.us-east-1.amazonaws.com/");
    assert.equal(target.basePath, "/my.bucket");
    assert.equal(target.keyPrefix, "");
  });

  it("is the given endpoint in path style, or the bucket's host there when asked", () => {
    const endpoint = "http://store.example:9000";
    assert.equal(targetOf(url, { endpoint }, keys).origin.href, "http://store.example:9000/");
    assert.equal(targetOf(url, { endpoint }, keys).basePath, "/bucket");
    const virtual = targetOf(url, { endpoint, pathStyle: false }, keys);
    assert.equal(virtual.origin.href, "http://bucket.store.example:9000/");
    assert.equal(virtual.basePath, "");
  });

  it("refuses a bucket's host at an address of digits, where the bucket would be lost", () => {
    for (const endpoint of ["http://127.0.0.1:9000", "http://[::1]:9000"]) {
      assert.equal(targetOf(url, { endpoint }, keys).basePath, "/bucket");
      assert.throws(() => targetOf(url, { endpoint, pathStyle: false }, keys), {
        code: "config-invalid",
        message: /is an address/,
      });
    }
  });

  it("reads the variables every S3 tool reads, and options before them", () => {
    const environment = {
      ...keys,
      AWS_SESSION_TOKEN: "env-token",
      AWS_ENDPOINT_URL: "http://all.example",
      AWS_ENDPOINT_URL_S3: "http://s3.example",
      AWS_DEFAULT_REGION: "default-1",
    };
    const target = targetOf(url, {}, environment);
    assert.equal(target.origin.host, "s3.example");
    assert.equal(target.region, "default-1");
    assert.equal(target.credentials.sessionToken, "env-token");
    const own = { accessKeyId: "own", secretAccessKey: "own-secret", region: "own-1" };
    const chosen = targetOf(url, own, environment);
    assert.deepEqual(chosen.credentials, { accessKeyId: "own", secretAccessKey: "own-secret" });
    assert.equal(chosen.region, "own-1");
  });
});
