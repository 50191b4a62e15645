/** What a request does with memory that is only lent to it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Destination } from "../../../src/stages/destinations/destination.ts";
import { signed } from "../../../src/stages/destinations/s3-request.ts";
import { targetOf } from "../../../src/stages/destinations/s3-target.ts";
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import { expectError, objectOf } from "../../contract/destination-contract.ts";
import { hangUp } from "../../servers/http-faults.ts";
import { startScriptedS3 } from "../../servers/scripted-s3.ts";

const bodyBytes = 16 * 2 ** 20;

describe("s3 request", () => {
  it("repeats what met a kept connection that has died, once, and it costs no attempt", async () => {
    const store = await startScriptedS3("bucket");
    const s3 = { endpoint: store.endpoint, accessKeyId: "a", secretAccessKey: "b" };
    const once = { attempts: 1, firstMillis: 1, longestMillis: 1, totalMillis: 5000 };
    const open = () => openS3(new URL("s3://bucket"), { timeoutMillis: 5000, s3 }, once);
    const put = (destination: Destination, name: string) =>
      destination.put(objectOf(name, name), new AbortController().signal);
    const hangUps = (times: number) => {
      for (let i = 0; i < times; i += 1) store.faults.push({ on: "PUT", play: hangUp });
    };
    const destination = await open();
    await put(destination, "p/first");
    hangUps(1);
    await put(destination, "p/second");
    hangUps(2);
    await expectError("destination-unreachable", put(destination, "p/third"));
    await destination.close();
    // A fresh connection that fails is the store's doing.
    const fresh = await open();
    hangUps(1);
    store.faults.push({
      on: "HEAD",
      play: (call) => {
        call.response.setHeader("connection", "close");
        call.serve();
      },
    });
    await expectError("destination-unreachable", put(fresh, "p/fourth"));
    await fresh.close();
    assert.deepEqual([...store.objects.keys()], ["p/first", "p/second"]);
    await store.stop();
  });

  it("asks for a listing by a path that begins with a slash, in either style", () => {
    const keys = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" };
    const pathOf = (pathStyle: boolean, name?: string) => {
      const target = targetOf(new URL("s3://bucket/p"), { pathStyle }, keys);
      const query = name === undefined ? { query: { "list-type": "2" } } : {};
      return signed(target, { method: "GET", ...(name && { name }), ...query }).path;
    };
    assert.equal(pathOf(false), "/?list-type=2");
    assert.equal(pathOf(true), "/bucket?list-type=2");
    assert.equal(pathOf(false, "r/0"), "/p/r/0");
    assert.equal(pathOf(true, "r/0"), "/bucket/p/r/0");
  });

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
