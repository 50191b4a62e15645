import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import type { StoredObject } from "../../../src/stages/destinations/destination.ts";
import { expectError, objectOf, readAll } from "../../contract/destination-contract.ts";
import { type Fault, keep } from "../../servers/scripted-s3.ts";
import {
  answers,
  canary,
  closing,
  page,
  pageKey,
  quick,
  useScriptedBucket,
} from "./scripted-bucket.ts";

const never = new AbortController().signal;
const writeOnly: Fault = { on: "HEAD", play: answers(403, "AccessDenied") };

describe("s3 put", () => {
  const bucket = useScriptedBucket();
  const { open } = bucket;
  /** Opens a session that has seen that the store honours conditions, so that the next put is one request. */
  const openWarm = async (...faults: Fault[]) => {
    const destination = await open();
    await destination.put(objectOf("p/r/warm", "warm"), never);
    assert.equal(destination.conditional, true);
    bucket.store.requests.length = 0;
    bucket.store.headers.length = 0;
    bucket.store.faults.push(...faults);
    return destination;
  };
  /** Puts one page through the faults; it must be stored, and the session closed. */
  const putThrough = async (...faults: Fault[]) => {
    const destination = await openWarm(...faults);
    await closing(destination, destination.put(page, never));
    assert.equal(bucket.store.objects.get(pageKey)?.bytes.toString(), "the page");
    return bucket.store.requests.map((request) => request.split(" ")[0]);
  };
  const fails = async (code: Parameters<typeof expectError>[0], ...faults: Fault[]) => {
    const destination = await openWarm(...faults);
    const error = await expectError(code, closing(destination, destination.put(page, never)));
    assert.ok(!inspect(error, { depth: 9 }).includes(canary), "no secret in an error");
    return error;
  };

  it("believes no 200 that speaks of an error, though its ETag is right", async () => {
    const etag = createHash("md5").update("the page").digest("hex");
    const lie: Fault = {
      on: "PUT",
      play({ response }) {
        const text = "<Error><Code>InternalError</Code></Error>";
        response.writeHead(200, { etag: `"${etag}"` }).end(text);
      },
    };
    assert.deepEqual(await putThrough(lie), ["PUT", "HEAD", "PUT"]);
  });

  it("sends one plain PUT with length, digests and the trace's place", async () => {
    const destination = await openWarm();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const traced: StoredObject = { ...page, traceparent };
    await destination.put(traced, never);
    await destination.close();
    assert.deepEqual(bucket.store.requests, [`PUT ${pageKey}`]);
    const sent = bucket.store.headers[0] ?? {};
    const digest = (name: string) => createHash(name).update(page.bytes);
    assert.equal(sent["content-length"], "8");
    assert.equal(sent["content-md5"], digest("md5").digest("base64"));
    assert.equal(sent["if-none-match"], "*");
    assert.equal(sent["x-amz-checksum-sha256"], digest("sha256").digest("base64"));
    assert.equal(sent["x-amz-content-sha256"], digest("sha256").digest("hex"));
    assert.equal(sent["x-amz-meta-sha256"], digest("sha256").digest("hex"));
    assert.equal(sent["x-amz-meta-traceparent"], traceparent);
  });

  it("takes a lost answer for what it is: the object is there", async () => {
    const dropAfterStore: Fault = {
      on: "PUT",
      play: (call) => {
        keep(bucket.store, call, call.body);
        call.response.destroy();
      },
    };
    assert.deepEqual(await putThrough(dropAfterStore), ["PUT", "PUT", "HEAD"]);
    assert.equal(bucket.store.objects.size, 2);
  });

  it("sends again what was dropped before it was stored", async () => {
    const drop: Fault = { on: "PUT", play: (call) => void call.response.destroy() };
    assert.deepEqual(await putThrough(drop, drop), ["PUT", "PUT", "PUT"]);
  });

  it("asks again while the store is busy, and as late as it was told", async () => {
    const busy: Fault = { on: "PUT", play: answers(503, "SlowDown") };
    const flood: Fault = { on: "PUT", play: answers(429, "TooManyRequests") };
    const race: Fault = { on: "PUT", play: answers(409, "ConditionalRequestConflict") };
    const damaged: Fault = { on: "PUT", play: answers(400, "BadDigest") };
    assert.equal((await putThrough(busy, flood, race, damaged)).length, 5);
  });

  it("gives up after a bounded number of attempts", async () => {
    const busy: Fault = { on: "PUT", play: answers(503, "SlowDown") };
    const start = performance.now();
    const error = await fails("destination-unreachable", ...Array.from({ length: 9 }, () => busy));
    assert.equal(bucket.store.requests.length, quick.attempts);
    assert.deepEqual(error.details, { status: 503, code: "SlowDown" });
    assert.ok(performance.now() - start < 1000);
  });

  it("does not believe a 200 with an error in it", async () => {
    const okWithError: Fault = { on: "PUT", play: answers(200, "InternalError") };
    assert.deepEqual(await putThrough(okWithError), ["PUT", "HEAD", "PUT"]);
    bucket.store.objects.clear();
    const liar = () => okWithError;
    await fails("destination-failed", ...Array.from({ length: 9 }, liar));
  });

  it("reads an object back when its ETag is missing", async () => {
    const noTag: Fault = {
      on: "PUT",
      play: (call) => {
        keep(bucket.store, call, call.body);
        call.response.end();
      },
    };
    assert.deepEqual(await putThrough(noTag), ["PUT", "HEAD"]);
  });

  it("fails when the store keeps other bytes than it was sent", async () => {
    const corrupt: Fault = {
      on: "PUT",
      play: (call) => {
        const bytes = Buffer.from(call.body);
        bytes[0] = (bytes[0] ?? 0) ^ 1;
        keep(bucket.store, call, bytes);
        const etag = createHash("md5").update(bytes).digest("hex");
        call.response.writeHead(200, { etag: `"${etag}"` }).end();
      },
    };
    await fails("destination-failed", corrupt);
    assert.deepEqual(
      bucket.store.requests.map((request) => request.split(" ")[0]),
      ["PUT", "HEAD", "GET"],
    );
  });

  it("takes a wrong ETag for a question, which the bytes answer", async () => {
    const wrongTag: Fault = {
      on: "PUT",
      play: (call) => {
        keep(bucket.store, call, call.body);
        call.response.writeHead(200, { etag: `"${"0".repeat(32)}"` }).end();
      },
    };
    assert.deepEqual(await putThrough(wrongTag), ["PUT", "HEAD"]);
  });

  it("accepts the ETags of encrypted objects with their checksum, and reads back those without", async () => {
    const encrypted = (repeated: object): Fault => ({
      on: "PUT",
      play: (call) => {
        keep(bucket.store, call, call.body);
        const headers = { etag: `"${"0".repeat(32)}"`, "x-amz-server-side-encryption": "aws:kms" };
        call.response.writeHead(200, { ...headers, ...repeated }).end();
      },
    });
    const checksum = Buffer.from(page.sha256).toString("base64");
    assert.deepEqual(await putThrough(encrypted({ "x-amz-checksum-sha256": checksum })), ["PUT"]);
    bucket.store.objects.clear();
    assert.deepEqual(await putThrough(encrypted({})), ["PUT", "HEAD"]);
  });

  it("reads back what a store repeats another checksum of", async () => {
    const other: Fault = {
      on: "PUT",
      play: (call) => {
        keep(bucket.store, call, call.body);
        const etag = `"${createHash("md5").update(call.body).digest("hex")}"`;
        call.response.writeHead(200, { etag, "x-amz-checksum-sha256": "AAAA" }).end();
      },
    };
    assert.deepEqual(await putThrough(other), ["PUT", "HEAD"]);
  });

  it("believes no digest beside an object whose ETag proves nothing: it reads the bytes", async () => {
    const claims = { "x-amz-meta-sha256": Buffer.from(page.sha256).toString("hex") };
    bucket.store.objects.set(pageKey, { bytes: Buffer.from("THE PAGE"), meta: claims });
    const ownTag: Fault = {
      on: "HEAD",
      play: ({ response }) =>
        void response.writeHead(200, { ...claims, etag: '"own"', "content-length": 8 }).end(),
    };
    await fails("foreign-object", ownTag);
  });

  it("looks at what its own question about conditions left behind", async () => {
    bucket.store.conditions = "ignore";
    const destination = await open();
    bucket.store.faults.push(
      { on: "PUT", play: (call) => call.serve() },
      {
        on: "PUT",
        play: (call) => {
          keep(bucket.store, call, call.body.subarray(0, 3));
          const etag = createHash("md5").update(call.body.subarray(0, 3)).digest("hex");
          call.response.writeHead(200, { etag: `"${etag}"` }).end();
        },
      },
    );
    const putting = closing(destination, destination.put(page, never));
    await expectError("destination-failed", putting);
  });

  it("needs no right to read where the store guards names itself", async () => {
    const destination = await open();
    bucket.store.faults.push(writeOnly);
    await destination.put(page, never);
    assert.equal(destination.conditional, true);
    bucket.store.faults.push(writeOnly);
    await expectError("destination-refused", destination.put(page, never));
    await destination.close();
    bucket.store.conditions = "ignore";
    const unguarded = await open();
    bucket.store.faults.push(writeOnly, writeOnly);
    await unguarded.put(objectOf("p/r/other", "x"), never);
    await expectError("destination-refused", unguarded.put(page, never));
    await unguarded.close();
  });

  it("compares the bytes of a taken name that carries no digest", async () => {
    bucket.store.objects.set(pageKey, { bytes: Buffer.from("the page"), meta: {} });
    assert.deepEqual(await putThrough(), ["PUT", "HEAD", "GET"]);
    bucket.store.objects.set(pageKey, { bytes: Buffer.from("THE PAGE"), meta: {} });
    await fails("foreign-object");
  });

  it("asks again when a name is both taken and missing", async () => {
    const taken: Fault = { on: "PUT", play: answers(412, "PreconditionFailed") };
    assert.deepEqual(await putThrough(taken), ["PUT", "HEAD", "PUT"]);
  });

  it("refuses redirects and never follows them", async () => {
    for (const status of [301, 302, 307]) {
      const redirect: Fault = {
        on: "PUT",
        play: ({ response }) => {
          response
            .writeHead(status, { location: `${bucket.store.endpoint}/bucket/elsewhere` })
            .end();
        },
      };
      await fails("destination-refused", redirect);
      assert.deepEqual(bucket.store.requests, [`PUT ${pageKey}`]);
      bucket.store.objects.clear();
    }
  });

  it("refuses at once what only the operator can mend", async () => {
    for (const [status, code] of [
      [403, "SignatureDoesNotMatch"],
      [401, "AccessDenied"],
      [404, "NoSuchBucket"],
      [400, "InvalidArgument"],
    ] as const) {
      const error = await fails("destination-refused", { on: "PUT", play: answers(status, code) });
      assert.match(error.message, new RegExp(`${status} ${code}`));
      assert.equal(error.retriable, false);
      assert.equal(bucket.store.requests.length, 1);
      bucket.store.objects.clear();
    }
  });

  it("repeats nothing of an error's body but a plain code", async () => {
    const chatty: Fault = {
      on: "PUT",
      play: ({ response }) => {
        response.writeHead(403);
        response.end(`<Error><Code>${canary} <x></Code><Message>${canary}</Message></Error>`);
      },
    };
    await fails("destination-refused", chatty);
  });

  it("reads no endless error", async () => {
    const endless: Fault = {
      on: "PUT",
      play: ({ response }) => {
        response.writeHead(500);
        response.end(Buffer.alloc(2 ** 20, 32));
      },
    };
    assert.deepEqual(await putThrough(endless), ["PUT", "PUT"]);
  });

  it("gives a silent store up after its deadline, wherever it falls silent", async () => {
    const silent: Fault = { on: "PUT", play: () => {} };
    const halfway: Fault = {
      on: "PUT",
      play: ({ response }) => {
        response.writeHead(500, { "content-length": 100 });
        response.write("<Error>");
      },
    };
    bucket.timeoutMillis = 100;
    const start = performance.now();
    assert.deepEqual(await putThrough(silent, halfway), ["PUT", "PUT", "PUT"]);
    assert.ok(performance.now() - start < 1000);
  });

  it("ends within a second of an abort while the store is silent", async () => {
    const destination = await openWarm(
      { on: "PUT", play: () => {} },
      { on: "GET", play: () => {} },
    );
    const stop = new AbortController();
    const reason = new Error("stop now");
    setTimeout(() => stop.abort(reason), 20);
    const start = performance.now();
    const waits = [destination.put(page, stop.signal), readAll(destination, "p/x", stop.signal)];
    for (const wait of waits) await assert.rejects(wait, (error) => error === reason);
    assert.ok(performance.now() - start < 1000);
    await destination.close();
  });
});
