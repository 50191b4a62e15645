/** Destination `sftp:` before OpenSSH's own server, behind a relay that cuts, damages, stalls and loses. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openSftp } from "../../../src/stages/destinations/sftp.ts";
import { objectOf } from "../../contract/destination-contract.ts";
import { comesTo, destinationFaults } from "../../contract/destination-faults.ts";
import { patience } from "../../contract/http-store-faults.ts";
import { type Sshd, sshdInstalled, startSshd } from "../../servers/sshd.ts";
import { type TcpProxy, startTcpProxy } from "../../servers/tcp-proxy.ts";

const never = new AbortController().signal;
const [patientMillis, hastyMillis] = [10_000, 400];
const unmet = comesTo("OpenSSH's server does what it says; the scripted one plays it");
/** Places in the bytes of a put, each way, at which its connection is cut. */
const places = 8;

describe("destination sftp before OpenSSH over a network that fails", () => {
  let sshd: Sshd | undefined;
  let relay: TcpProxy;
  const path = (name = "") => join(sshd!.root, "out", name);
  const open = (hasty = false) =>
    openSftp(
      new URL(`sftp://${sshd!.user}@127.0.0.1:${relay.port}${path()}`),
      {
        timeoutMillis: hasty ? hastyMillis : patientMillis,
        sftp: { hostKey: sshd!.hostKey, privateKey: sshd!.privateKey },
      },
      { ...patience, attempts: hasty ? 2 : patience.attempts },
    );

  before(async function () {
    if (!sshdInstalled()) {
      console.log("      OpenSSH's server is not installed (sshd): not tested here");
      this.skip();
    }
    sshd = await startSshd();
    relay = await startTcpProxy(sshd.port);
  });
  after(async () => {
    await relay?.close();
    await sshd?.stop();
  });

  const cut = (bytes: number, how?: Parameters<TcpProxy["cutAfter"]>[1]) => () =>
    relay.cutAfter(bytes, how);
  const loseAll = () => void (relay.mode = "black-hole");
  const dribble = () => relay.dribble(20);

  destinationFaults({
    persists: true,
    mostAsked: 0,
    open,
    stored: (name) => readFile(path(name)).catch(() => undefined),
    async plant(name, bytes) {
      await mkdir(dirname(path(name)), { recursive: true });
      await writeFile(path(name), bytes);
    },
    came: () => !relay.isCutting,
    // What is asked lies within the encryption.
    asked: () => 0,
    strayed: () => 0,
    heal: () => relay.heal(),
    reset: () => rm(path(), { recursive: true, force: true }),
    foldCase: "file systems here do not",
    writing: {
      ...unmet.writing,
      "loses the request": cut(1, { way: "toServer" }),
      "breaks off in the middle of the request": cut(150_000, { way: "toServer" }),
      "ends in the middle of the answer": cut(500, { by: "end" }),
      "resets in the middle of the answer": cut(500),
      "damages the bytes on their way": cut(150_000, { way: "toServer", by: "damage" }),
      "never answers": loseAll,
      "answers byte by byte": dribble,
    },
    reading: {
      ...unmet.reading,
      "ends in the middle": cut(200_000, { by: "end" }),
      "resets in the middle": cut(100_000),
      "never answers": loseAll,
    },
    listing: {
      ...unmet.listing,
      "ends in the middle": cut(500, { by: "end" }),
      "never answers": loseAll,
      "answers byte by byte": dribble,
    },
  });

  it("stores each page once, wherever in its bytes the connection is cut", async () => {
    const destination = await open();
    await destination.put(objectOf("p/r/first", "of this session"), never);
    const content = randomBytes(100_000);
    const [toClient, toServer] = [relay.bytesToClient, relay.bytesToServer];
    await destination.put(objectOf("p/r/whole", content), never);
    const most = {
      toClient: relay.bytesToClient - toClient,
      toServer: relay.bytesToServer - toServer,
    };
    const names = ["first", "whole"];
    for (const way of ["toClient", "toServer"] as const)
      for (let place = 1; place <= places; place += 1) {
        const name = `${way}-${place}`;
        relay.cutAfter(Math.floor((most[way] * place) / places), { way });
        await destination.put(objectOf(`p/r/${name}`, content), never);
        names.push(name);
        assert.ok(content.equals(await readFile(path(`p/r/${name}`))), name);
      }
    // What a lost attempt was writing is gone as well.
    await destination.finish(never);
    assert.deepEqual((await readdir(path("p/r"))).toSorted(), names.toSorted());
    await destination.close();
  });
});
