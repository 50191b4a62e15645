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
import { checkLiveStore } from "../../contract/live-store.ts";
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
  checkLiveStore({
    open,
    openNowhere: () => open(s3, "no-such-bucket"),
    direct: () => direct,
    keyOf: (name) => `round ${round}/+ü&/${name}`,
    metaPrefix: "x-amz-meta-",
    damaged: { headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" }, says: /BadDigest/ },
  });

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
});
