import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";
import { type Fault, startScriptedS3 } from "../../servers/scripted-s3.ts";
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

const listing = (content: string) => `<ListBucketResult>${content}</ListBucketResult>`;
const entry = (name: string) => `<Contents><Key>${name}</Key><Size>1</Size></Contents>`;

describe("destination s3", () => {
  const bucket = useScriptedBucket();
  const { open } = bucket;

  /** Lists from a store that answers with this XML. */
  const listed = async (xml: string) => {
    const destination = await open();
    bucket.store.faults.push({ on: "GET", play: ({ response }) => void response.end(xml) });
    return closing(destination, listAll(destination));
  };
  const config = (s3: object, url = "s3://bucket/some/prefix") =>
    openS3(new URL(url), { timeoutMillis: bucket.timeoutMillis, s3 }, quick);

  describe("against a healthy store", () =>
    destinationContract(open, async () => bucket.store.objects.clear()));

  describe("against a store that ignores conditions", () => {
    beforeEach(() => void (bucket.store.conditions = "ignore"));

    it("never overwrites: it asks first", async () => {
      const destination = await open();
      await destination.put(page, never);
      assert.equal(destination.conditional, false);
      await destination.put(page, never);
      await expectError("foreign-object", destination.put(objectOf(page.name, "other"), never));
      await destination.close();
      assert.equal(bucket.store.objects.get(pageKey)?.bytes.toString(), "the page");
    });
  });

  describe("against a store that refuses conditions", () => {
    beforeEach(() => void (bucket.store.conditions = "refuse"));

    it("never overwrites: it asks first, and puts without them", async () => {
      const destination = await open();
      await destination.put(page, never);
      assert.equal(destination.conditional, false);
      assert.deepEqual(bucket.store.requests, [
        `HEAD ${pageKey}`,
        `PUT ${pageKey}`,
        `HEAD ${pageKey}`,
        `PUT ${pageKey}`,
      ]);
      await expectError("foreign-object", destination.put(objectOf(page.name, "other"), never));
      await destination.close();
    });

    it("takes many first puts side by side, whichever of them finds out", async () => {
      const destination = await open();
      const names = Array.from({ length: 16 }, (_, index) => `p/r/${index}`);
      await Promise.all(names.map((name) => destination.put(objectOf(name, name), never)));
      await destination.close();
      assert.equal(bucket.store.objects.size, names.length);
    });
  });

  describe("reading", () => {
    const bytes = randomBytes(300_000);
    const broken = async (play: Fault["play"]) => {
      const destination = await open();
      bucket.store.objects.set(pageKey, { bytes, meta: {} });
      bucket.store.faults.push({ on: "GET", play });
      const reading = readAll(destination, page.name);
      return expectError("destination-failed", closing(destination, reading));
    };

    it("notices a body that breaks off", async () => {
      const error = await broken(({ response }) => {
        response.writeHead(200, { "content-length": bytes.length });
        response.write(bytes.subarray(0, 100_000), () => response.destroy());
      });
      assert.equal(error.details.expected, bytes.length);
    });

    it("does not take the end of a connection for the end of an object", async () => {
      await broken(({ response }) => {
        response.socket?.end("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it");
      });
    });

    it("notices a body that stops coming", async () => {
      bucket.timeoutMillis = 100;
      await broken(({ response }) => {
        response.writeHead(200, { "content-length": bytes.length });
        response.write(bytes.subarray(0, 100_000));
      });
    });

    it("leaves a slow reader its time", async () => {
      bucket.timeoutMillis = 100;
      const destination = await open();
      bucket.store.objects.set(pageKey, { bytes: randomBytes(3_000_000), meta: {} });
      let read = 0;
      for await (const piece of destination.get(page.name, never)) {
        if (read === 0) await new Promise((resolve) => setTimeout(resolve, 250));
        read += piece.length;
      }
      await destination.close();
      assert.equal(read, 3_000_000);
    });

    it("asks again when the store was only busy", async () => {
      const destination = await open();
      bucket.store.objects.set(pageKey, { bytes, meta: {} });
      bucket.store.faults.push({ on: "GET", play: answers(503, "SlowDown") });
      assert.ok((await readAll(destination, page.name)).equals(bytes));
      await destination.close();
    });

    it("tells a missing bucket from a missing object", async () => {
      const destination = await openS3(
        new URL("s3://elsewhere"),
        {
          timeoutMillis: bucket.timeoutMillis,
          s3: { endpoint: bucket.store.endpoint, accessKeyId: "id", secretAccessKey: canary },
        },
        quick,
      );
      await expectError("destination-refused", readAll(destination, page.name));
      await destination.close();
    });
  });

  describe("listing", () => {
    it("goes through all pages", async () => {
      bucket.store.keysPerListing = 3;
      const destination = await open();
      const names = Array.from({ length: 10 }, (_, index) => `p/r/${index}&<+ x`);
      for (const name of names) {
        bucket.store.objects.set(`some/prefix/${name}`, { bytes: Buffer.from("x"), meta: {} });
      }
      bucket.store.objects.set("some/prefixed/not-ours", { bytes: Buffer.from("x"), meta: {} });
      bucket.store.objects.set("some/prefix/p/r/folder/", { bytes: Buffer.alloc(0), meta: {} });
      assert.deepEqual(
        (await listAll(destination, "p/r")).map(({ name }) => name),
        names,
      );
      assert.equal(bucket.store.requests.length, 4);
      await destination.close();
    });

    it("refuses keys that are out of order or of somewhere else", async () => {
      const last = "<IsTruncated>false</IsTruncated>";
      for (const names of [["some/prefix/b", "some/prefix/a"], ["a"], ["some/prefix/a", "t"]]) {
        const xml = listing(names.map(entry).join("") + last);
        await expectError("destination-failed", listed(xml));
      }
    });

    it("cuts a circle of pages", async () => {
      const more =
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
      for (const content of [entry("some/prefix/a"), ""]) {
        const round: Fault = {
          on: "GET",
          play: ({ response }) => void response.end(listing(content + more)),
        };
        bucket.store.faults.push(...Array.from({ length: 300 }, () => round));
        const destination = await open();
        await expectError("destination-failed", listAll(destination));
        await destination.close();
        bucket.store.faults.length = 0;
      }
    });
  });

  describe("opening", () => {
    const keys = { accessKeyId: "id", secretAccessKey: canary };

    it("needs credentials, whole", async () => {
      const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = process.env;
      delete process.env.AWS_ACCESS_KEY_ID;
      delete process.env.AWS_SECRET_ACCESS_KEY;
      try {
        await expectError("config-invalid", config({}));
        const error = await expectError("config-invalid", config({ secretAccessKey: canary }));
        assert.ok(!inspect(error, { depth: 9 }).includes(canary));
      } finally {
        if (id !== undefined) process.env.AWS_ACCESS_KEY_ID = id;
        if (secret !== undefined) process.env.AWS_SECRET_ACCESS_KEY = secret;
      }
    });

    it("refuses endpoints that are more than an origin", async () => {
      for (const endpoint of [
        "minio:9000",
        "https://u:p@host",
        "https://host/path",
        "ftp://host",
      ]) {
        await expectError("config-invalid", config({ ...keys, endpoint }));
      }
    });

    it("shows no secret in its URL", async () => {
      const destination = await config({ ...keys, endpoint: bucket.store.endpoint });
      assert.equal(destination.url, "s3://bucket/some/prefix");
      assert.ok(!inspect(destination, { depth: 9 }).includes(canary));
    });

    it("says that nobody answers", async () => {
      const gone = await startScriptedS3("bucket");
      await gone.stop();
      const destination = await config({ ...keys, endpoint: gone.endpoint });
      const error = await expectError("destination-unreachable", destination.put(page, never));
      assert.match(error.message, /ECONNREFUSED/);
      assert.ok(!inspect(error, { depth: 9 }).includes(canary));
    });

    it("does not go on without trusted TLS", async () => {
      const endpoint = bucket.store.endpoint.replace("http:", "https:");
      const destination = await config({ ...keys, endpoint });
      await expectError("destination-refused", destination.put(page, never));
    });
  });
});
