/** Destination `s3:` before a store that fails in every way of the script. */
import { createHash } from "node:crypto";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import { type FaultyStore, destinationFaults } from "../../contract/destination-faults.ts";
import * as http from "../../servers/http-faults.ts";
import {
  type Call,
  type Fault,
  type ScriptedS3,
  keep,
  refuse,
  startScriptedS3,
} from "../../servers/scripted-s3.ts";

const [patientMillis, hastyMillis] = [5000, 120];
const patience = { attempts: 3, firstMillis: 2, longestMillis: 10, totalMillis: 3000 };
const prefix = "some/prefix/";

describe("destination s3 before a failing store", () => {
  let store: ScriptedS3;
  let elsewhere: Server;
  let strayed = 0;
  /** Whether an illness was played. */
  let ill = false;
  /** Takes back what a fault did to an object. */
  let undo = () => {};

  before(async () => {
    store = await startScriptedS3("bucket");
    store.keysPerListing = 5;
    elsewhere = createServer((_, response) => {
      strayed += 1;
      response.end();
    }).listen(0, "127.0.0.1");
  });
  after(async () => {
    await store.stop();
    elsewhere.close();
  });

  /** A fault of the next requests of that method, or of all of them. */
  const once =
    (on: Fault["on"], play: Fault["play"], times = 1) =>
    () => {
      for (let i = 0; i < times; i += 1) store.faults.push({ on, play });
    };
  const early = (play: Fault["play"]) => () =>
    void store.faults.push({ on: "PUT", early: true, play });
  const always =
    (on: Fault["on"], play: Fault["play"], isEarly = false) =>
    () => {
      store.script = (call, isBefore) => {
        if (call.method !== on || isBefore !== isEarly) return undefined;
        ill = true;
        return play;
      };
    };
  const says = (status: number, code: string) => (call: Call) =>
    refuse(call.response, status, code);
  const redirect = (status: number) => (call: Call) => {
    const { port } = elsewhere.address() as AddressInfo;
    http.answerWith(status, { location: `http://127.0.0.1:${port}/bucket/x` })(call);
  };
  /** Stores other bytes than it was sent, and tells their ETag. */
  const keeps = (change: (bytes: Buffer) => Buffer) => (call: Call) => {
    const bytes = change(Buffer.from(call.body));
    keep(store, call, bytes);
    const etag = createHash("md5").update(bytes).digest("hex");
    call.response.writeHead(200, { etag: `"${etag}"` }).end();
  };
  const flip = (bytes: Buffer) => {
    bytes[7] = bytes[7]! ^ 1;
    return bytes;
  };
  const damage = (call: Call) => {
    const md5 = createHash("md5").update(flip(call.body)).digest("base64");
    if (call.request.headers["content-md5"] === md5) return call.serve();
    refuse(call.response, 400, "BadDigest");
  };
  const xml = (content: string) =>
    http.rewrite((text) => {
      const [head = ""] = text.split("\r\n\r\n");
      const kept = head.replace(/\r\n(content-length|transfer-encoding): [^\r]*/gi, "");
      return `${kept}\r\ncontent-length: ${Buffer.byteLength(content)}\r\n\r\n${content}`;
    });
  const key = (name: string) =>
    `<Contents><Key>${prefix}p/r/${name}</Key><Size>8</Size></Contents>`;
  const listing = (content: string, token?: string) =>
    xml(
      `<ListBucketResult>${content}<IsTruncated>${token !== undefined}</IsTruncated>` +
        `${token === undefined ? "" : `<NextContinuationToken>${token}</NextContinuationToken>`}</ListBucketResult>`,
    );
  const webPage = "<html><body>Please sign in</body></html>";
  const first = ["00000000", "00000001"].map(key).join("");

  const faulty: FaultyStore = {
    persists: true,
    mostAsked: 4 * patience.attempts,
    open: (hasty = false) =>
      openS3(
        new URL(`s3://bucket/${prefix}`),
        {
          timeoutMillis: hasty ? hastyMillis : patientMillis,
          s3: { endpoint: store.endpoint, accessKeyId: "id", secretAccessKey: "secret" },
        },
        patience,
      ),
    stored: async (name) => store.objects.get(prefix + name)?.bytes,
    plant: async (name, bytes) =>
      void store.objects.set(prefix + name, { bytes: Buffer.from(bytes), meta: {} }),
    came: () => store.faults.length === 0 && (store.script === undefined || ill),
    asked: () => store.requests.length,
    strayed: () => strayed,
    heal() {
      store.faults.length = 0;
      store.script = undefined;
      ill = false;
      undo();
      undo = () => {};
      store.conditions = "honour";
      store.foldsCase = false;
    },
    reset: async () => store.objects.clear(),
    foldCase: () => void (store.foldsCase = true),
    writing: {
      "stores and loses the answer": once("PUT", http.serveUnheard),
      "loses the request": once("PUT", http.hangUp, 2),
      "breaks off in the middle of the request": early(http.cutRequest(100_000)),
      "ends in the middle of the answer": once("PUT", http.cutAnswer(20, "end")),
      "resets in the middle of the answer": once("PUT", http.cutAnswer(20, "reset")),
      "damages the bytes on their way": once("PUT", damage, 2),
      "takes less at a time than it is given": "TCP hides it",
      "has no room for a while": "a full store is a busy one",
      "is busy for a while": once("PUT", says(503, "SlowDown"), 2),
      "is busy for ever, and says for how long": always(
        "PUT",
        http.answerWith(503, { "retry-after": "86400" }),
      ),
      "is busy for ever": always("PUT", says(503, "SlowDown")),
      "is flooded for a while": once("PUT", http.answerWith(429, { "retry-after": "0" }), 2),
      "fails for ever": always("PUT", says(500, "InternalError")),
      "never answers": always("PUT", http.fallSilent),
      "answers byte by byte": always("PUT", http.dribble(20)),
      "takes the request byte by byte": always("PUT", http.sip(20), true),
      "refuses before it has read": early(says(403, "AccessDenied")),
      "says that credentials have expired": once("PUT", says(400, "ExpiredToken")),
      "says that the clock is off": once("PUT", says(403, "RequestTimeTooSkewed")),
      "sends elsewhere": once("PUT", redirect(301)),
      "sends elsewhere for a while": once("PUT", redirect(307)),
      "says success and an error, and stores nothing": once("PUT", says(200, "InternalError")),
      "says success with a web page, and stores nothing": once(
        "PUT",
        http.answerWith(200, {}, webPage),
      ),
      "says nothing of what it stored": once(
        "PUT",
        http.rewrite((text) => text.replace(/etag: [^\r]*\r\n/i, "")),
      ),
      "names another digest": once(
        "PUT",
        http.rewrite((text) => text.replace(/etag: [^\r]*/i, `etag: "${"0".repeat(32)}"`)),
      ),
      "answers twice": once(
        "PUT",
        http.rewrite((text) => text + text),
      ),
      "keeps a part": once(
        "PUT",
        keeps((bytes) => bytes.subarray(0, 1000)),
      ),
      "keeps other bytes": once("PUT", keeps(flip)),
      "keeps an empty object": once(
        "PUT",
        keeps(() => Buffer.alloc(0)),
      ),
      "shows what it stored only later": () => {
        once(
          "PUT",
          http.rewrite((text) => text.replace(/etag: [^\r]*\r\n/i, "")),
        )();
        once("HEAD", says(404, "NoSuchKey"), 2)();
      },
      "ignores conditions": () => void (store.conditions = "ignore"),
      "refuses conditions": () => void (store.conditions = "refuse"),
    },
    reading: {
      "gives less at a time than it is asked for": "TCP hides it",
      "ends in the middle": once("GET", http.cutAnswer(200_000, "end"), 2),
      "resets in the middle": once("GET", http.cutAnswer(100_000, "reset")),
      "is busy for a while": once("GET", says(503, "SlowDown"), 2),
      "is busy for ever": always("GET", says(503, "SlowDown")),
      "never answers": always("GET", http.fallSilent),
      "falls silent in the middle, again and again": always("GET", ({ request, response }) => {
        const from = Number(/\d+/.exec(request.headers.range ?? "0")?.[0]);
        const length = { "content-length": 300_000 - from, etag: '"it"' };
        const range = from > 0 ? { "content-range": `bytes ${from}-299999/300000` } : {};
        const status = from > 0 ? 206 : 200;
        const { bytes } = store.objects.get(`${prefix}p/r/page`)!;
        response
          .writeHead(status, { ...length, ...range })
          .write(bytes.subarray(from, from + 1000));
      }),
      "gives a byte at a time": always("GET", http.dribble(1, 1000)),
      "ends early, again and again": always("GET", http.cutAnswer(2000, "end")),
      "does not say how long it is": once("GET", ({ response }) => {
        response.writeHead(200, { etag: '"x"' }).write("some");
        response.end();
      }),
      "changes the object in the middle": once("GET", (call) => {
        http.cutAnswer(100_000, "end")(call);
        const path = `${prefix}p/r/page`;
        const { bytes, meta } = store.objects.get(path)!;
        store.objects.set(path, { bytes: Buffer.alloc(bytes.length, "X"), meta });
        undo = () => void store.objects.set(path, { bytes, meta });
      }),
      "says that credentials have expired": once("GET", says(400, "ExpiredToken")),
      "sends elsewhere": once("GET", redirect(307)),
    },
    listing: {
      "gives less at a time than it is asked for": "TCP hides it",
      "ends in the middle": once("GET", http.cutAnswer(300, "end"), 2),
      "is busy for a while": once("GET", says(503, "SlowDown"), 2),
      "never answers": always("GET", http.fallSilent),
      "answers byte by byte": always("GET", http.dribble(20)),
      "repeats a page": once("GET", listing(first, "t"), 2),
      "goes round in a circle": always("GET", listing("", "t")),
      "cuts a page short": once("GET", xml(`<ListBucketResult>${first}<IsTrunc`)),
      "mixes the order": once("GET", listing(key("00000001") + key("00000000"))),
      "says success and an error": once("GET", xml("<Error><Code>InternalError</Code></Error>")),
      "answers with a web page": once("GET", xml(webPage)),
      "never ends a page": always("GET", ({ response }) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write(" ".repeat(65_536)), 1);
        response.on("close", () => clearInterval(timer));
      }),
      "says that credentials have expired": once("GET", says(400, "ExpiredToken")),
      "sends elsewhere": once("GET", redirect(301)),
    },
  };

  destinationFaults(faulty);
});
