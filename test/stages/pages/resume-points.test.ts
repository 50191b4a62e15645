/** Resume points open under the password and the run that sealed them, and under nothing else. */
import assert from "node:assert/strict";
import { createPointSealer } from "../../../src/stages/pages/resume-points.ts";
import type { ResumePoint } from "../../../src/stages/nouns.ts";

const point: ResumePoint = {
  page: 7,
  total: 1234,
  chain: "ab".repeat(32),
  mark: {
    row: 1300,
    key: ["patient 4711", "2024-02-29 23:59:59.999999+00"],
    reading: { columns: "cd".repeat(32), epochs: [{ firstPage: 0, firstRow: 1, proof: {} }] },
  },
};
const run = Buffer.alloc(32, 1);

describe("resume points", () => {
  it("come back as they were, and are never sealed alike", async () => {
    const points = await createPointSealer("secret", run);
    const [one, two] = [points.seal(point), points.seal(point)];
    assert.notEqual(one, two);
    assert.deepEqual(points.open(one), point);
    assert.deepEqual((await createPointSealer("secret", run)).open(two), point);
  });

  it("show nothing of the key", async () => {
    const sealed = (await createPointSealer("secret", run)).seal(point);
    const bytes = Buffer.from(sealed, "base64");
    for (const text of ["4711", "23:59", "abab"]) assert.ok(!bytes.includes(text));
  });

  it("do not open under another password, of another run, changed or cut", async () => {
    const points = await createPointSealer("secret", run);
    const sealed = points.seal(point);
    assert.equal((await createPointSealer("Secret", run)).open(sealed), undefined);
    assert.equal((await createPointSealer("secret", Buffer.alloc(32, 2))).open(sealed), undefined);
    for (const at of [0, 15, -1]) {
      const bytes = Buffer.from(sealed, "base64");
      bytes.writeUInt8(bytes.at(at)! ^ 1, at < 0 ? bytes.length + at : at);
      assert.equal(points.open(bytes.toString("base64")), undefined);
    }
    for (const bytes of [0, 12, 27, 28, 100])
      assert.equal(
        points.open(Buffer.from(sealed, "base64").subarray(0, bytes).toString("base64")),
        undefined,
      );
  });
});
