/** Destination `azblob:` against Microsoft's emulator, which checks signatures and digests. */
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { connect } from "../../../src/stages/destinations/azblob-request.ts";
import { targetOf } from "../../../src/stages/destinations/azblob-target.ts";
import { openAzblob } from "../../../src/stages/destinations/azblob.ts";
import type { AzblobOptions } from "../../../src/stages/destinations/destination.ts";
import { expectError, objectOf, readAll } from "../../contract/destination-contract.ts";
import { checkLiveStore, useLiveServer } from "../../contract/live-store.ts";
import { type Azurite, azuriteInstalled, startAzurite } from "../../servers/azurite.ts";

const never = new AbortController().signal;
const timeoutMillis = 10_000;
const quick = { attempts: 2, firstMillis: 1, longestMillis: 1, totalMillis: 1000 };

const loginOf = ({ endpoint, accountKey }: Azurite): AzblobOptions => ({ endpoint, accountKey });

describe("destination azblob against Azurite", () => {
  const live = useLiveServer({
    name: "Azurite (azurite-blob)",
    isInstalled: azuriteInstalled,
    start: startAzurite,
    connect(azurite) {
      const url = new URL(`azblob://${azurite.account}/exports`);
      return connect(targetOf(url, loginOf(azurite), {}), timeoutMillis);
    },
    makeQuery: { restype: "container" },
  });
  const open = (azblob: AzblobOptions = loginOf(live.server), container = "exports") => {
    const url = new URL(`azblob://${live.server.account}/${container}/${live.folder}`);
    return openAzblob(url, { timeoutMillis, azblob }, quick);
  };

  checkLiveStore({
    live,
    open,
    openNowhere: () => open(loginOf(live.server), "nobody"),
    metaPrefix: "x-ms-meta-",
    damaged: { headers: { "x-ms-blob-type": "BlockBlob" }, says: /MD5/i },
  });

  it("signs so that a wrong key does not pass", async () => {
    const accountKey = randomBytes(64).toString("base64");
    const destination = await open({ ...loginOf(live.server), accountKey });
    const put = destination.put(objectOf("p/r/page", "x"), never);
    const error = await expectError("destination-refused", put);
    assert.equal(error.details.code, "AuthorizationFailure");
    await expectError("destination-refused", readAll(destination, "p/r/page"));
    await destination.close();
  });

  it("takes a shared access signature in place of the account's key", async () => {
    const { endpoint } = live.server;
    const destination = await open({ endpoint, sas: signatureFor(live.server, "rcwl") });
    await destination.put(objectOf("p/r/page", "by signature"), never);
    await destination.put(objectOf("p/r/page", "by signature"), never);
    await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
    assert.equal(String(await readAll(destination, "p/r/page")), "by signature");
    await destination.close();
    const reader = await open({ endpoint, sas: signatureFor(live.server, "r") });
    await expectError("destination-refused", reader.put(objectOf("p/r/new", "x"), never));
    await reader.close();
  });
});

/** An account signature (version 2018-11-09) for objects and containers, good for a minute. */
function signatureFor({ account, accountKey }: Azurite, rights: string): string {
  const expiry = new Date(Date.now() + 60_000).toISOString().replace(/\.\d+Z/, "Z");
  const text = [account, rights, "b", "co", "", expiry, "", "https,http", "2018-11-09", ""];
  const key = Buffer.from(accountKey, "base64");
  const sig = createHmac("sha256", key).update(text.join("\n")).digest("base64");
  const query = { sv: "2018-11-09", ss: "b", srt: "co", sp: rights, se: expiry };
  return new URLSearchParams({ ...query, spr: "https,http", sig }).toString();
}
