/** Destination `s3:` against a real store that checks signatures and digests. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { S3Options } from "../../../src/stages/destinations/destination.ts";
import type { HttpConnection } from "../../../src/stages/destinations/http-exchange.ts";
import { connect } from "../../../src/stages/destinations/s3-request.ts";
import { targetOf } from "../../../src/stages/destinations/s3-target.ts";
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import {
  destinationContract,
  expectError,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";
import { type Rgw, rgwInstalled, startRgw } from "../../servers/rgw.ts";

const never = new AbortController().signal;
const timeoutMillis = 10_000;

describe("destination s3 against Ceph RGW", () => {
  let rgw: Rgw | undefined;
  let s3: S3Options;
  let direct: HttpConnection;
  let round = 0;

  const open = (options: S3Options = s3, bucket = "exports") =>
    openS3(new URL(`s3://${bucket}/round ${round}/+ü&`), { timeoutMillis, s3: options });

  before(async function () {
    if (!rgwInstalled()) {
      console.log("      Ceph RGW is not installed (radosgw, ceph-mon, ceph-osd): not tested here");
      this.skip();
    }
    this.timeout(60_000);
    rgw = await startRgw();
    const { endpoint, accessKeyId, secretAccessKey } = rgw;
    s3 = { endpoint, accessKeyId, secretAccessKey };
    direct = connect(targetOf(new URL("s3://exports"), s3, {}), timeoutMillis);
    const made = await direct.send({ method: "PUT", headers: { "content-length": "0" } }, never);
    assert.equal(made.status, 200);
  });
  after(async () => {
    direct?.close();
    await rgw?.stop();
  });

  destinationContract(open, async () => void (round += 1));

  it("is told 412 for a taken name, and knows that the store honours conditions", async () => {
    const destination = await open();
    await destination.put(objectOf("p/r/page", "first"), never);
    assert.equal(destination.conditional, true);
    await destination.put(objectOf("p/r/page", "first"), never);
    await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
    await destination.close();
  });

  it("signs so that a wrong secret or key id does not pass", async () => {
    const secretAccessKey = randomBytes(20).toString("hex");
    for (const wrong of [{ secretAccessKey }, { accessKeyId: "NOBODY" }]) {
      const destination = await open({ ...s3, ...wrong });
      const error = await expectError(
        "destination-refused",
        destination.put(objectOf("p/r/page", "x"), never),
      );
      assert.equal(error.details.status, 403);
      await expectError("destination-refused", readAll(destination, "p/r/page"));
      await destination.close();
    }
  });

  it("has bytes refused that do not fit their MD5", async () => {
    const answer = await direct.send(
      {
        method: "PUT",
        name: "damaged",
        body: Buffer.from("changed"),
        headers: {
          "content-length": "7",
          "content-md5": "1B2M2Y8AsgTpgAmy7PhCfg==",
          "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        },
      },
      never,
    );
    assert.equal(answer.status, 400);
    assert.match(await answer.text(65_536), /BadDigest/);
  });

  it("has bytes refused that do not fit their SHA-256", async () => {
    const object = { ...objectOf("p/r/damaged", "x"), sha256: randomBytes(32) };
    const destination = await openS3(
      new URL("s3://exports/damaged"),
      { timeoutMillis, s3 },
      { attempts: 2, firstMillis: 1, longestMillis: 1, totalMillis: 1000 },
    );
    await expectError("destination-failed", destination.put(object, never));
    await expectError("not-found", readAll(destination, "p/r/damaged"));
    await destination.close();
  });

  it("tells a missing object from a missing bucket", async () => {
    const destination = await open();
    await expectError("not-found", readAll(destination, "p/r/nothing"));
    await destination.close();
    const elsewhere = await open(s3, "no-such-bucket");
    await expectError("destination-refused", readAll(elsewhere, "p/r/nothing"));
    await expectError("destination-refused", elsewhere.put(objectOf("p/r/x", "x"), never));
    await elsewhere.close();
  });

  it("keeps digest and trace beside the object", async () => {
    const destination = await open();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const object = { ...objectOf("p/r/traced", "x"), traceparent };
    await destination.put(object, never);
    await destination.close();
    const name = `round ${round}/+ü&/p/r/traced`;
    const answer = await direct.send({ method: "HEAD", name }, never);
    answer.drop();
    assert.equal(answer.header("x-amz-meta-traceparent"), traceparent);
    assert.equal(answer.header("x-amz-meta-sha256"), Buffer.from(object.sha256).toString("hex"));
  });
});
