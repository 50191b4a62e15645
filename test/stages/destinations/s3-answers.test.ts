import assert from "node:assert/strict";
import { failureOf } from "../../../src/stages/destinations/http-dialect.ts";
import { errorCodeOf, listingOf } from "../../../src/stages/destinations/s3-answers.ts";
import { s3Dialect } from "../../../src/stages/destinations/s3-dialect.ts";
import { TryAgain } from "../../../src/stages/destinations/retry.ts";

const listing = (content: string) => `<ListBucketResult>${content}</ListBucketResult>`;
const entry = (name: string) => `<Contents><Key>${name}</Key><Size>1</Size></Contents>`;
const last = "<IsTruncated>false</IsTruncated>";
const keysOf = (xml: string) => listingOf(xml).objects.map(({ key }) => key);

const again = (status: number, code = "") =>
  failureOf(s3Dialect, { status, code, waitMillis: 0 }, "storing") instanceof TryAgain;

describe("s3 answers", () => {
  it("list names as XML where the store does not escape them", () => {
    const xml = listing(entry("a&amp;b&#x20;%41+&lt;&#252;&gt;") + last);
    assert.deepEqual(listingOf(xml), {
      objects: [{ key: "a&b %41+<ü>", bytes: 1 }],
      next: undefined,
    });
  });

  it("list names as form text where the store escapes them", () => {
    const xml = `<EncodingType>url</EncodingType>${entry("some%2Fprefix/a+b%2B%C3%BC")}`;
    assert.deepEqual(keysOf(listing(xml + last)), ["some/prefix/a b+ü"]);
  });

  it("say where the next page starts", () => {
    const more =
      "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;=</NextContinuationToken>";
    assert.equal(listingOf(listing(entry("a") + more)).next, "a&=");
  });

  it("are refused when they are no whole listing", () => {
    const bad = [
      "",
      "<html></html>",
      listing(entry("a") + last).slice(0, -5),
      listing(entry("a")),
      listing(`${entry("a&what;")}${last}`),
      listing(`${entry("a & b")}${last}`),
      listing(`<EncodingType>url</EncodingType>${entry("%zz")}${last}`),
      listing(`<Contents><Key>a</Key></Contents>${last}`),
      listing(`<Contents><Key>a</Key><Size>-1</Size></Contents>${last}`),
      listing("<IsTruncated>true</IsTruncated>"),
      listing("<IsTruncated>maybe</IsTruncated>"),
    ];
    for (const xml of bad) assert.throws(() => listingOf(xml), { code: "destination-failed" }, xml);
  });

  it("are read in one pass, however often an entry begins that never ends", () => {
    const started = process.cpuUsage();
    const begun = "<Contents>".repeat(400_000);
    assert.throws(() => listingOf(listing(begun)), { code: "destination-failed" });
    // A pattern took minutes.
    assert.ok(process.cpuUsage(started).user < 2_000_000);
  });

  it("give only plain codes out of error bodies", () => {
    assert.equal(errorCodeOf("<Error><Code>SlowDown</Code></Error>"), "SlowDown");
    assert.equal(errorCodeOf("<Error><Code>see secret key x</Code></Error>"), "");
    assert.equal(errorCodeOf(`<Code>${"A".repeat(65)}</Code>`), "");
    assert.equal(errorCodeOf(""), "");
  });

  it("tell what may be asked again from what must be mended", () => {
    for (const status of [408, 409, 429, 500, 502, 503, 504, 507, 520]) assert.ok(again(status));
    for (const status of [301, 307, 400, 401, 403, 404, 405, 411, 413, 501]) {
      assert.ok(!again(status), String(status));
    }
    assert.ok(again(400, "BadDigest"));
    assert.ok(again(400, "RequestTimeout"));
  });
});
