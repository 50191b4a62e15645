/** Destination `s3:` before a store that fails in every way of the script. */
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import {
  type Kind,
  httpStoreFaults,
  listingFaults,
  patience,
} from "../../contract/http-store-faults.ts";
import { type ScriptedS3, keep, refuse, startScriptedS3 } from "../../servers/scripted-s3.ts";
import { type Call, md5 } from "../../servers/scripted-store.ts";

const refusals = {
  busy: [503, "SlowDown"],
  broken: [500, "InternalError"],
  denied: [403, "AccessDenied"],
  expired: [400, "ExpiredToken"],
  skewed: [403, "RequestTimeTooSkewed"],
  damaged: [400, "BadDigest"],
  missing: [404, "NoSuchKey"],
} as const;

const refuses = (what: keyof typeof refusals) => (call: Call) => {
  const [status, code] = refusals[what];
  refuse(call.response, status, code);
};

const listingXml = (content: string, token?: string) =>
  `<ListBucketResult>${content}<IsTruncated>${token !== undefined}</IsTruncated>` +
  `${token === undefined ? "" : `<NextContinuationToken>${token}</NextContinuationToken>`}</ListBucketResult>`;

const s3: Kind<ScriptedS3> = {
  async start() {
    const store = await startScriptedS3("bucket");
    store.keysPerListing = 5;
    return store;
  },
  open: ({ endpoint }, timeoutMillis) =>
    openS3(
      new URL("s3://bucket/some/prefix/"),
      { timeoutMillis, s3: { endpoint, accessKeyId: "id", secretAccessKey: "secret" } },
      patience,
    ),
  refuse: (call, what) => refuses(what)(call),
  keep,
  accept: ({ response }, bytes) =>
    void response.writeHead(200, { etag: `"${md5(bytes, "hex")}"` }).end(),
  fits: ({ request }, bytes) => md5(bytes, "base64") === request.headers["content-md5"],
  told: { header: "etag", wrong: `"${"0".repeat(32)}"` },
  listing(stage, prefix) {
    const key = (name: string) =>
      `<Contents><Key>${prefix}p/r/${name}</Key><Size>8</Size></Contents>`;
    const first = ["00000000", "00000001"].map(key).join("");
    const { once, always, says } = stage;
    const refusing = { busy: refuses("busy"), expired: refuses("expired") };
    return {
      ...listingFaults(stage, "GET", refusing),
      "repeats a page": once("GET", says(listingXml(first, "t")), 2),
      "goes round in a circle": always("GET", says(listingXml("", "t"))),
      "cuts a page short": once("GET", says(`<ListBucketResult>${first}<IsTrunc`)),
      "mixes the order": once("GET", says(listingXml(key("00000001") + key("00000000")))),
    };
  },
};

describe("destination s3 before a failing store", () => httpStoreFaults(s3));
