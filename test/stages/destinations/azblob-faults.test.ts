/** Destination `azblob:` before a service that fails in every way of the script. */
import { openAzblob } from "../../../src/stages/destinations/azblob.ts";
import {
  type Kind,
  httpStoreFaults,
  listingFaults,
  patience,
} from "../../contract/http-store-faults.ts";
import {
  type ScriptedAzblob,
  blobXml,
  listingXml,
  refuse,
  startScriptedAzblob,
} from "../../servers/scripted-azblob.ts";
import { type Call, md5 } from "../../servers/scripted-store.ts";

const refusals = {
  busy: [503, "ServerBusy"],
  broken: [500, "InternalError"],
  denied: [403, "AuthorizationFailure"],
  expired: [403, "AuthenticationFailed"],
  skewed: [403, "AuthenticationFailed"],
  damaged: [400, "Md5Mismatch"],
  missing: [404, "BlobNotFound"],
} as const;

const refuses = (what: keyof typeof refusals) => (call: Call) => {
  const [status, code] = refusals[what];
  refuse(call.response, status, code);
};

const always = "every Azure endpoint honours conditions";

const azblob: Kind<ScriptedAzblob> = {
  async start() {
    const store = await startScriptedAzblob("container");
    store.keysPerListing = 5;
    return store;
  },
  open: ({ endpoint }, timeoutMillis) =>
    openAzblob(
      new URL("azblob://account/container/some/prefix"),
      { timeoutMillis, azblob: { endpoint, accountKey: "a2V5" } },
      patience,
    ),
  refuse: (call, what) => refuses(what)(call),
  accept: ({ response }, bytes) =>
    void response.writeHead(201, { "content-md5": md5(bytes, "base64") }).end(),
  fits: ({ request }, bytes) => md5(bytes, "base64") === request.headers["content-md5"],
  told: { header: "content-md5", wrong: "AAAAAAAAAAAAAAAAAAAAAA==" },
  foldCase: "blobs' names are told apart by every letter",
  writing: () => ({ "ignores conditions": always, "refuses conditions": always }),
  listing(stage, prefix) {
    const key = (name: string) => blobXml(`${prefix}p/r/${name}`, 8);
    const first = ["00000000", "00000001"].map(key).join("");
    const { once, always: ever, says } = stage;
    const refusing = { busy: refuses("busy"), expired: refuses("expired") };
    return {
      ...listingFaults(stage, "GET", refusing),
      "repeats a page": once("GET", says(listingXml(first, "t")), 2),
      "goes round in a circle": ever("GET", says(listingXml("", "t"))),
      "cuts a page short": once("GET", says(listingXml(first, "").slice(0, -8))),
      "mixes the order": once("GET", says(listingXml(key("00000001") + key("00000000"), ""))),
    };
  },
};

describe("destination azblob before a failing service", () => httpStoreFaults(azblob));
