/** Fuzzed: what stores answer, and the small texts that come in headers and variables. */
import assert from "node:assert/strict";
import { PipelineError } from "../../src/errors.ts";
import { checkDestinationUrl } from "../../src/stages/destinations/schemes.ts";
import { segmentsOf } from "../../src/stages/destinations/object-names.ts";
import { TryAgain, retryAfterMillis } from "../../src/stages/destinations/retry.ts";
import { type Session, failureOf } from "../../src/stages/destinations/http-dialect.ts";
import type { HttpAnswer } from "../../src/stages/destinations/http-exchange.ts";
import { put } from "../../src/stages/destinations/http-put.ts";
import { list } from "../../src/stages/destinations/key-listing.ts";
import { errorCodeOf, listingOf } from "../../src/stages/destinations/s3-answers.ts";
import { s3Dialect, s3Lister } from "../../src/stages/destinations/s3-dialect.ts";
import { parseTraceparent } from "../../src/telemetry/traceparent.ts";
import { pairsOf } from "../../src/telemetry/otel-env.ts";
import { type Chance, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";

const listing = (contents: string, more: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="x"><Name>b</Name><Prefix>p/</Prefix>` +
  `<EncodingType>url</EncodingType><KeyCount>2</KeyCount><IsTruncated>${more}</IsTruncated>${contents}</ListBucketResult>`;
const object = (key: string, size: string) =>
  `<Contents><Key>${key}</Key><Size>${size}</Size><ETag>&quot;d4&quot;</ETag></Contents>`;
const answers = [
  listing(object("p/a%20b", "5") + object("p/c+d", "0"), "false"),
  listing(
    `${object("p/a", "5")}<NextContinuationToken>1&amp;&#x20;</NextContinuationToken>`,
    "true",
  ),
  "<Error><Code>NoSuchKey</Code><Message>m</Message></Error>",
  "",
];
const xmlWords = [
  ...wordsOf("<Contents>·</Contents>·<Key>·</Key>·<Size>·</Size>·<Code>·</Code>·<Error·<·>"),
  ...wordsOf("&#x110000;·&#0;·&amp·&;·&#xd800;·%ff·%·%00·+·<![CDATA[·]]>·<!--·-->"),
  "</ListBucketResult>",
  "<IsTruncated>true</IsTruncated>",
  "<NextContinuationToken>",
  "<Contents>".repeat(20),
  ...wordsOf('../·p/·-1·1e3·\0·<!DOCTYPE x [<!ENTITY a "b">]>'),
];
const statuses = [
  100, 200, 200, 200, 204, 206, 301, 307, 400, 401, 403, 404, 408, 409, 412, 416, 429, 500, 501,
  503, 0, 999,
];
const policy = { attempts: 3, firstMillis: 0, longestMillis: 0, totalMillis: 1000 };

/** A store that answers whatever the case says, and at last nothing. */
function sessionOf(bytes: Buffer, chance: Chance): Session {
  let left = 12;
  const answer = (): HttpAnswer => {
    left -= 1;
    const status = left < 0 ? 404 : chance.pick(statuses);
    const headers: Record<string, string | undefined> = {
      etag: chance.pick([
        undefined,
        '"d41d8cd98f00b204e9800998ecf8427e"',
        "x",
        bytes.toString("latin1", 0, 40),
      ]),
      "content-length": chance.pick([undefined, "0", "5", "-1", "1e3", String(bytes.length)]),
      "retry-after": chance.pick([undefined, "0", "1", "-1", bytes.toString("latin1", 0, 20)]),
      "x-amz-meta-sha256": chance.pick([undefined, "", "00"]),
    };
    return {
      status,
      header: (name) => headers[name],
      text: () => Promise.resolve(bytes.toString("utf8")),
      async *body() {
        yield bytes;
      },
      async *pieces() {
        yield bytes;
      },
      drop() {},
    };
  };
  const connection = { send: () => Promise.resolve(answer()), close() {} };
  return {
    connection,
    dialect: s3Dialect,
    policy,
    conditional: chance.pick([undefined, true, false]),
  };
}

export function answersOfS3(): FuzzClass {
  const { signal } = new AbortController();
  const stored = { name: "p/x", bytes: Buffer.from("hello"), sha256: Buffer.alloc(32, 1) };
  return {
    seeds: { whole: answers.map((text) => Buffer.from(text)), words: xmlWords },
    async run(bytes, chance) {
      const text = bytes.toString("utf8");
      assert.match(errorCodeOf(text), /^[A-Za-z0-9.]{0,64}$/);
      const failure = failureOf(
        s3Dialect,
        { status: chance.pick(statuses), code: errorCodeOf(text), waitMillis: 0 },
        "x",
      );
      assert.ok(failure instanceof PipelineError || failure instanceof TryAgain);
      const session = sessionOf(bytes, chance);
      if (chance.once(3)) return put(session, stored, signal);
      if (chance.once(2)) return void listingOf(text);
      let last = "";
      for await (const { name, bytes: size } of list(
        session,
        s3Lister,
        { keyPrefix: "p/", folder: "" },
        signal,
      )) {
        assert.ok(Number.isSafeInteger(size) && size >= 0);
        assert.notEqual(name, last);
        last = name;
      }
      return undefined;
    },
  };
}

const headerTexts = [
  "120",
  "Wed, 21 Oct 2026 07:28:00 GMT",
  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  "service.name=a,b=%20c",
  "s3://bucket/prefix/a",
  "file:///tmp/x",
  "tar:./x.tar",
  "p/run/00000000.ndjson.zst.age",
];

export function headers(): FuzzClass {
  return {
    seeds: {
      whole: headerTexts.map((text) => Buffer.from(text)),
      words: [
        "%",
        "%2f",
        "..",
        "/",
        ":",
        "//",
        "@",
        "?",
        "#",
        "=",
        ",",
        "\0",
        " ",
        "-",
        "ff",
        "é",
        "\r\n",
        "__proto__=",
      ],
    },
    run(bytes) {
      const text = bytes.toString("utf8");
      const wait = retryAfterMillis(text);
      assert.ok(Number.isFinite(wait) && wait >= 0);
      const span = parseTraceparent(text);
      if (span) assert.match(span.traceId + span.spanId, /^[0-9a-f]{48}$/);
      assert.equal(Object.getPrototypeOf(pairsOf(text)), Object.prototype);
      for (const read of [() => checkDestinationUrl(text), () => segmentsOf(text)]) {
        try {
          const result = read();
          if (Array.isArray(result)) assert.ok(!result.includes("..") && !text.startsWith("/"));
        } catch (error) {
          if (!(error instanceof PipelineError)) throw error;
        }
      }
    },
  };
}
