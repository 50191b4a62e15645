/** Destination `azblob:` against Microsoft's emulator, which checks signatures and digests. */
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { connect } from "../../../src/stages/destinations/azblob-request.ts";
import { targetOf } from "../../../src/stages/destinations/azblob-target.ts";
import { openAzblob } from "../../../src/stages/destinations/azblob.ts";
import type { AzblobOptions } from "../../../src/stages/destinations/destination.ts";
import type { HttpConnection } from "../../../src/stages/destinations/http-exchange.ts";
import {
  destinationContract,
  expectError,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";
import { checkLiveStore } from "../../contract/live-store.ts";
import { type Azurite, azuriteInstalled, startAzurite } from "../../servers/azurite.ts";

const never = new AbortController().signal;
const timeoutMillis = 10_000;
const quick = { attempts: 2, firstMillis: 1, longestMillis: 1, totalMillis: 1000 };

describe("destination azblob against Azurite", () => {
  let azurite: Azurite | undefined;
  let azblob: AzblobOptions;
  let direct: HttpConnection;
  let round = 0;

  const urlOf = (container: string) =>
    new URL(`azblob://${azurite!.account}/${container}/round ${round}/+ü&`);
  const open = (options: AzblobOptions = azblob, container = "exports") =>
    openAzblob(urlOf(container), { timeoutMillis, azblob: options }, quick);

  before(async function () {
    if (!azuriteInstalled()) {
      console.log("      Azurite is not installed (azurite-blob): not tested here");
      this.skip();
    }
    this.timeout(30_000);
    azurite = await startAzurite();
    const { endpoint, accountKey, account } = azurite;
    azblob = { endpoint, accountKey };
    direct = connect(targetOf(new URL(`azblob://${account}/exports`), azblob, {}), timeoutMillis);
    const query = { restype: "container" };
    const headers = { "content-length": "0" };
    const made = await direct.send({ method: "PUT", query, headers }, never);
    assert.equal(made.status, 201);
  });
  after(async () => {
    direct?.close();
    await azurite?.stop();
  });

  destinationContract(open, async () => void (round += 1));
  checkLiveStore({
    open,
    openNowhere: () => open(azblob, "nobody"),
    direct: () => direct,
    keyOf: (name) => `round ${round}/+ü&/${name}`,
    metaPrefix: "x-ms-meta-",
    damaged: { headers: { "x-ms-blob-type": "BlockBlob" }, says: /MD5/i },
  });

  it("signs so that a wrong key does not pass", async () => {
    const accountKey = randomBytes(64).toString("base64");
    const destination = await open({ ...azblob, accountKey });
    const put = destination.put(objectOf("p/r/page", "x"), never);
    const error = await expectError("destination-refused", put);
    assert.equal(error.details.code, "AuthorizationFailure");
    await expectError("destination-refused", readAll(destination, "p/r/page"));
    await destination.close();
  });

  it("takes a shared access signature in place of the account's key", async () => {
    const sas = signatureFor(azurite!, "rcwl");
    const destination = await open({ endpoint: azurite!.endpoint, sas });
    await destination.put(objectOf("p/r/page", "by signature"), never);
    await destination.put(objectOf("p/r/page", "by signature"), never);
    await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
    assert.equal(String(await readAll(destination, "p/r/page")), "by signature");
    await destination.close();
    const reader = await open({ endpoint: azurite!.endpoint, sas: signatureFor(azurite!, "r") });
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
