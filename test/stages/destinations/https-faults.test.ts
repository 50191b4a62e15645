/** Destination `https:` before a web server that fails in every way of the script. */
import { createHash } from "node:crypto";
import { openHttps } from "../../../src/stages/destinations/https.ts";
import {
  type Kind,
  httpStoreFaults,
  listingFaults,
  patience,
} from "../../contract/http-store-faults.ts";
import {
  type ScriptedWeb,
  fileXml,
  folderXml,
  listingXml,
  startScriptedWeb,
} from "../../servers/scripted-web.ts";
import type { Call } from "../../servers/scripted-store.ts";

const refusals = {
  busy: 503,
  broken: 500,
  denied: 403,
  expired: 401,
  skewed: 403,
  damaged: 503,
  missing: 404,
} as const;

const refuses = (what: keyof typeof refusals) => (call: Call) =>
  void call.response.writeHead(refusals[what]).end();

const digestOf = (bytes: Buffer) =>
  `sha-256=:${createHash("sha256").update(bytes).digest("base64")}:`;

const https: Kind<ScriptedWeb> = {
  async start() {
    const store = await startScriptedWeb("top");
    for (const folder of ["some/", "some/prefix/", "some/prefix/p/", "some/prefix/p/r/"])
      store.folders.add(folder);
    return store;
  },
  open: ({ endpoint }, timeoutMillis) =>
    openHttps(new URL(`${endpoint}/top/some/prefix`), { timeoutMillis }, patience),
  refuse: (call, what) => refuses(what)(call),
  accept: ({ response }, bytes) =>
    void response.writeHead(201, { "repr-digest": digestOf(bytes) }).end(),
  fits: ({ request }, bytes) => digestOf(bytes) === request.headers["content-digest"],
  told: { header: "repr-digest", wrong: digestOf(Buffer.from("other")) },
  listing(stage) {
    const path = "/top/some/prefix/p/r/";
    const { once, always, says } = stage;
    const cut = listingXml(folderXml(path) + fileXml(`${path}00000000`, 8)).slice(0, -9);
    return {
      ...listingFaults(stage, "PROPFIND", { busy: refuses("busy"), expired: refuses("expired") }),
      "repeats a page": "a folder comes in one answer",
      "goes round in a circle": always("PROPFIND", (call) => {
        const at = call.request.url!;
        call.response.writeHead(207).end(listingXml(folderXml(at) + folderXml(`${at}x/`)));
      }),
      "cuts a page short": once("PROPFIND", says(cut)),
      "mixes the order": "servers list folders in any order; names are sorted here",
    };
  },
};

describe("destination https before a failing server", () => httpStoreFaults(https));
