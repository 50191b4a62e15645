import assert from "node:assert/strict";
import { azblobDialect, azblobLister } from "../../../src/stages/destinations/azblob-dialect.ts";

const listing = (blobs: string, end = "<NextMarker />") =>
  `<?xml version="1.0"?><EnumerationResults><Blobs>${blobs}</Blobs>${end}</EnumerationResults>`;
const blob = (name: string, size = "<Content-Length>3</Content-Length>") =>
  `<Blob>${name}<Properties>${size}</Properties></Blob>`;

describe("a List Blobs answer", () => {
  const { listingOf, queryOf } = azblobLister;

  it("names blobs and where the rest begins", () => {
    const page = listing(blob("<Name>p/a&amp;b</Name>"), "<NextMarker>more</NextMarker>");
    assert.deepEqual(listingOf(page), { objects: [{ key: "p/a&b", bytes: 3 }], next: "more" });
    assert.equal(queryOf("p/", "more")["marker"], "more");
    assert.equal("marker" in queryOf("p/", undefined), false);
    const last = listing("", "<NextMarker></NextMarker>");
    assert.deepEqual(listingOf(last), { objects: [], next: undefined });
  });

  it("escapes names that XML cannot hold", () => {
    const { objects } = listingOf(listing(blob('<Name Encoded="true">p/a%20%EF%BF%BE</Name>')));
    assert.equal(objects[0]?.key, "p/a \ufffe");
  });

  it("that is not whole is refused", () => {
    for (const broken of [
      "<html></html>",
      listing(blob("<Name>a</Name>")).slice(0, -5),
      listing(blob("<Name>a</Name>"), ""),
      listing(blob("")),
      listing(blob("<Name></Name>")),
      listing(blob("<Name>a</Name>", "")),
      listing(blob("<Name>a</Name>", "<Content-Length>-1</Content-Length>")),
      listing("<Blob><Name>a</Name>"),
      listing(blob('<Name Encoded="true">%ff</Name>')),
    ])
      assert.throws(() => listingOf(broken), { code: "destination-failed" }, broken);
  });
});

describe("a blob on its way", () => {
  it("keeps its digests and, where there is one, the trace that it is of", async () => {
    const object = { name: "a", bytes: Buffer.from("page"), sha256: Buffer.alloc(32, 1) };
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const headers = await azblobDialect.headersOf({ ...object, traceparent });
    assert.equal(headers["x-ms-meta-traceparent"], traceparent);
    assert.equal(headers["x-ms-meta-sha256"], "01".repeat(32));
    assert.equal("x-ms-meta-traceparent" in (await azblobDialect.headersOf(object)), false);
  });
});
