/** What a request does with memory that is only lent to it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { openS3 } from "../../../src/stages/destinations/s3.ts";

const bodyBytes = 16 * 2 ** 20;

describe("s3 request", () => {
  it("sends nothing more of a body once there is an answer, so that its memory may be used again", async () => {
    const seen = new Set<number>();
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        // Refused before it was read: the rest is still to be sent.
        socket.pause();
        socket.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        socket.on("data", (bytes) => {
          for (const byte of bytes) seen.add(byte);
        });
        setTimeout(() => socket.resume(), 300);
      });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const destination = await openS3(new URL("s3://bucket/p"), {
      timeoutMillis: 20_000,
      s3: {
        endpoint: `http://127.0.0.1:${port}`,
        region: "x",
        accessKeyId: "a",
        secretAccessKey: "b",
      },
    });
    const bytes = Buffer.alloc(bodyBytes, "A");
    const object = { name: "p/r/0", bytes, sha256: new Uint8Array(32) };
    await assert.rejects(destination.put(object, new AbortController().signal));
    bytes.fill("S");
    await sleep(1000);
    await destination.close();
    server.close();
    assert.ok(!seen.has("S".charCodeAt(0)), "the next owner's bytes were sent");
    assert.ok(seen.has("A".charCodeAt(0)));
  });
});
