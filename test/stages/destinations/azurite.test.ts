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

  it("signs so that a wrong key does not pass", async () => {
    const accountKey = randomBytes(64).toString("base64");
    const destination = await open({ ...azblob, accountKey });
    const put = destination.put(objectOf("p/r/page", "x"), never);
    const error = await expectError("destination-refused", put);
    assert.equal(error.details.code, "AuthorizationFailure");
    await expectError("destination-refused", readAll(destination, "p/r/page"));
    await destination.close();
  });

  it("has bytes refused that do not fit their MD5", async () => {
    const answer = await direct.send(
      {
        method: "PUT",
        name: "damaged",
        body: Buffer.from("changed"),
        headers: {
          "content-length": "7",
          "content-md5": "1B2M2Y8AsgTpgAmy7PhCfg==",
          "x-ms-blob-type": "BlockBlob",
        },
      },
      never,
    );
    assert.equal(answer.status, 400);
    assert.match(await answer.text(65_536), /MD5/i);
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

  it("tells a missing blob from a missing container", async () => {
    const destination = await open();
    await expectError("not-found", readAll(destination, "p/r/nothing"));
    await destination.close();
    const elsewhere = await open(azblob, "nobody");
    await expectError("destination-refused", readAll(elsewhere, "p/r/nothing"));
    await expectError("destination-refused", elsewhere.put(objectOf("p/r/x", "x"), never));
    await elsewhere.close();
  });

  it("keeps digest and trace beside the blob", async () => {
    const destination = await open();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const object = { ...objectOf("p/r/traced", "x"), traceparent };
    await destination.put(object, never);
    await destination.close();
    const name = `round ${round}/+ü&/p/r/traced`;
    const answer = await direct.send({ method: "HEAD", name }, never);
    answer.drop();
    assert.equal(answer.header("x-ms-meta-traceparent"), traceparent);
    assert.equal(answer.header("x-ms-meta-sha256"), Buffer.from(object.sha256).toString("hex"));
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
