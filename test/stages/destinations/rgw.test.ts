/** Destination `s3:` against a real store that checks signatures and digests. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { S3Options } from "../../../src/stages/destinations/destination.ts";
import { connect } from "../../../src/stages/destinations/s3-request.ts";
import { targetOf } from "../../../src/stages/destinations/s3-target.ts";
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import { expectError, objectOf, readAll } from "../../contract/destination-contract.ts";
import { checkLiveStore, useLiveServer } from "../../contract/live-store.ts";
import { type Rgw, rgwInstalled, startRgw } from "../../servers/rgw.ts";

const never = new AbortController().signal;
const timeoutMillis = 10_000;

const loginOf = ({ endpoint, accessKeyId, secretAccessKey }: Rgw): S3Options => ({
  endpoint,
  accessKeyId,
  secretAccessKey,
});

describe("destination s3 against Ceph RGW", () => {
  const live = useLiveServer({
    name: "Ceph RGW (radosgw, ceph-mon, ceph-osd)",
    isInstalled: rgwInstalled,
    start: startRgw,
    connect: (rgw) => connect(targetOf(new URL("s3://exports"), loginOf(rgw), {}), timeoutMillis),
  });
  const open = (more: S3Options = {}, bucket = "exports") => {
    const s3 = { ...loginOf(live.server), ...more };
    return openS3(new URL(`s3://${bucket}/${live.folder}`), { timeoutMillis, s3 });
  };

  checkLiveStore({
    live,
    open,
    openNowhere: () => open({}, "no-such-bucket"),
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
      const destination = await open(wrong);
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
      { timeoutMillis, s3: loginOf(live.server) },
      { attempts: 2, firstMillis: 1, longestMillis: 1, totalMillis: 1000 },
    );
    await expectError("destination-failed", destination.put(object, never));
    await expectError("not-found", readAll(destination, "p/r/damaged"));
    await destination.close();
  });
});
