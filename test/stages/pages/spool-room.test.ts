import assert from "node:assert/strict";
import * as fc from "fast-check";
import { writeAll } from "../../../src/stages/durable-file.ts";
import { createRoom, onDisk } from "../../../src/stages/pages/spool-room.ts";
import { never } from "../../fixtures/pages.ts";

const full = () => Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC" }));

describe("spool-room", () => {
  it("counts what an earlier attempt left", async () => {
    const room = createRoom({ maxBytes: 100, fullTimeoutMillis: 10 }, 60);
    assert.deepEqual([room.usedBytes, room.peakBytes], [60, 60]);
    await room.take(40, never);
    await assert.rejects(room.take(1, never), { code: "spool-full" });
  });

  it("never holds more than its cap, but for a page that is alone", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 20 }),
        async (sizes) => {
          const room = createRoom({ maxBytes: 100, fullTimeoutMillis: 5000 }, 0);
          for (const bytes of sizes) {
            const taken = room.take(bytes, never);
            if (room.usedBytes > 0 && room.usedBytes + bytes > 100) room.give(room.usedBytes);
            await taken;
            assert.ok(room.usedBytes <= 100 || room.usedBytes === bytes);
          }
        },
      ),
    );
  });

  it("tries again while the disk is full", async () => {
    let tries = 0;
    await createRoom({ maxBytes: 1, fullTimeoutMillis: 5000 }, 0).whenDiskHasRoom(async () => {
      tries += 1;
      if (tries < 3) await full();
    }, never);
    assert.equal(tries, 3);
  });

  it("ends a wait for the disk at its deadline, and at once when the signal fires", async () => {
    const room = createRoom({ maxBytes: 1, fullTimeoutMillis: 1 }, 0);
    await assert.rejects(room.whenDiskHasRoom(full, never), { code: "disk-full", exitCode: 75 });
    const reason = new Error("stopped");
    const stop = AbortSignal.abort(reason);
    await assert.rejects(
      createRoom({ maxBytes: 1, fullTimeoutMillis: 60_000 }, 0).whenDiskHasRoom(full, stop),
      reason,
    );
  });

  it("tells a disk that takes nothing, for which there is no code, and nothing of the error", async () => {
    const nothing = () => writeAll({ write: async () => ({ bytesWritten: 0 }) }, Buffer.of(1));
    await assert.rejects(onDisk(nothing), {
      code: "spool-failed",
      message: "spool: the disk refused (unknown error); what was durable stays so, run again",
    });
  });

  it("tries nothing again after any other error, and tells its code alone", async () => {
    let tries = 0;
    const broken = async () => {
      tries += 1;
      throw Object.assign(new Error("/secret/path"), { code: "EIO" });
    };
    await assert.rejects(
      createRoom({ maxBytes: 1, fullTimeoutMillis: 5000 }, 0).whenDiskHasRoom(broken, never),
      {
        code: "spool-failed",
        message: /EIO/,
      },
    );
    assert.equal(tries, 1);
  });
});
