/** Destination `sftp:` against OpenSSH's own server. */
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { lstat, mkdir, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import type { SftpOptions } from "../../../src/stages/destinations/destination.ts";
import { readHostKeys } from "../../../src/stages/destinations/sftp-host-key.ts";
import { targetOf } from "../../../src/stages/destinations/sftp-target.ts";
import { probeDestination } from "../../../src/stages/destinations/schemes.ts";
import { openSftp } from "../../../src/stages/destinations/sftp.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";
import { type Sshd, sshdInstalled, startSshd } from "../../servers/sshd.ts";
import { type TcpProxy, startTcpProxy } from "../../servers/tcp-proxy.ts";

const never = new AbortController().signal;
const timeoutMillis = 10_000;
const quick = { attempts: 2, firstMillis: 1, longestMillis: 1, totalMillis: 5000 };
const page = objectOf("p/r/page", "the page");

describe("destination sftp against OpenSSH", () => {
  let sshd: Sshd | undefined;
  let sftp: SftpOptions;
  const path = (...names: string[]) => join(sshd!.root, "out", ...names);
  const url = () => new URL(`sftp://${sshd!.user}@127.0.0.1:${sshd!.port}${path()}/`);
  const open = (extra: SftpOptions = {}) =>
    openSftp(url(), { timeoutMillis, sftp: { ...sftp, ...extra } }, quick);
  const reset = () => rm(path(), { recursive: true, force: true });

  before(async function () {
    if (!sshdInstalled()) {
      console.log("      OpenSSH's server is not installed (sshd): not tested here");
      this.skip();
    }
    sshd = await startSshd();
    sftp = { hostKey: sshd.hostKey, privateKey: sshd.privateKey };
  });
  after(() => sshd?.stop());

  destinationContract(open, reset);

  it("syncs files and gives names by links, and leaves nothing else", async () => {
    const destination = await open();
    await destination.put(page, never);
    await expectError("foreign-object", destination.put(objectOf("p/r/page", "other"), never));
    assert.equal(destination.synced, true);
    assert.equal(destination.conditional, true);
    assert.deepEqual(await readdir(path("p/r")), ["page"]);
    assert.equal((await lstat(path("p/r/page"))).mode & 0o777, 0o600);
    await destination.close();
  });

  it("removes what an earlier attempt left unfinished, and never lists it", async () => {
    await mkdir(path("p/r"), { recursive: true });
    await writeFile(path("p/r/.incoming-0123"), "half");
    const destination = await open();
    assert.deepEqual(await listAll(destination), []);
    await destination.put(page, never);
    assert.deepEqual(await readdir(path("p/r")), ["page"]);
    await destination.close();
  });

  it("says that the folder above its own is missing, which it does not make", async () => {
    const deep = new URL("a/b/", url());
    const destination = await openSftp(deep, { timeoutMillis, sftp }, quick);
    const error = await expectError("destination-refused", destination.put(page, never));
    assert.match(error.message, /expected the folder above it to be there/);
    await destination.close();
  });

  it("follows no symbolic link below its folder", async () => {
    await mkdir(path(), { recursive: true });
    await symlink("/tmp", path("p"));
    await symlink("/etc/passwd", path("q"));
    const destination = await open();
    await expectError("destination-refused", destination.put(page, never));
    await expectError("not-found", readAll(destination, "q"));
    await expectError("foreign-object", destination.put(objectOf("q", "x"), never));
    const told = (await listAll(destination)).map(({ name }) => name);
    assert.deepEqual(told, ["p (no file)", "q (no file)"]);
    await destination.close();
  });

  it("refuses a server with another key, before it says who it is itself", async () => {
    const hostKey = `SHA256:${"A".repeat(43)}`;
    const destination = await open({ hostKey });
    const error = await expectError("destination-refused", destination.put(page, never));
    assert.match(error.message, /has another key \(SHA256:/);
    assert.ok(error.message.includes(sshd!.hostKey));
    await destination.close();
  });

  it("knows servers from known_hosts: by name, by hash, not where they are revoked", async () => {
    const target = targetOf(url(), { password: "x" }, {});
    const file = path("..", "known_hosts");
    const host = `[127.0.0.1]:${sshd!.port}`;
    const salt = randomBytes(20);
    const hashed = `|1|${salt.toString("base64")}|${createHmac("sha1", salt).update(host).digest("base64")}`;
    const key = Buffer.from(sshd!.hostLine.split(" ")[1]!, "base64");
    const trusts = async (lines: string) => {
      await writeFile(file, lines);
      return (await readHostKeys(target, file)).isTrusted(key);
    };
    assert.equal(await trusts(`# x\nother,${host} ${sshd!.hostLine}\n`), true);
    assert.equal(await trusts(`${hashed} ${sshd!.hostLine} comment\n`), true);
    assert.equal(
      await trusts(`${host} ${sshd!.hostLine}\n@revoked ${host} ${sshd!.hostLine}`),
      false,
    );
    for (const nobody of [
      "",
      `@cert-authority ${host} ${sshd!.hostLine}`,
      `127.0.0.1 ${sshd!.hostLine}`,
    ])
      await assert.rejects(trusts(nobody), { code: "config-invalid" });
  });

  it("says that a login is refused, or a key cannot be used, and shows no secret", async () => {
    const canary = "c4n4ry-s3cr3t";
    const { privateKey: _, ...bare } = sftp;
    for (const [extra, message] of [
      [{ password: canary }, /refused the login; check user, key and password/],
      [{ privateKey: canary }, /private key cannot be used/],
    ] as const) {
      const destination = await openSftp(
        url(),
        { timeoutMillis, sftp: { ...bare, ...extra } },
        quick,
      );
      const error = await expectError("destination-refused", destination.put(page, never));
      assert.match(error.message, message);
      assert.ok(!inspect([error, destination], { depth: 9 }).includes(canary));
      await destination.close();
    }
  });

  it("is looked at by doctor, without a trace", async () => {
    const looking = probeDestination(url().href, {
      timeoutMillis,
      sftp,
      folder: "p",
      signal: never,
    });
    const findings = await Array.fromAsync(looking);
    assert.deepEqual(
      findings.map(({ level, check }) => `${level} ${check}`),
      ["ok endpoint", "ok writing", "ok no overwriting", "ok reading back", "ok syncing"],
    );
    assert.deepEqual(await readdir(path("p")), []);
    assert.equal(await readFile(path("p", "x"), "utf8").catch(() => "none"), "none");
  });

  describe("over a network that fails", () => {
    let proxy: TcpProxy;
    const through = (millis = timeoutMillis) => {
      const to = url();
      to.port = String(proxy.port);
      const patience = { attempts: 3, firstMillis: 1, longestMillis: 5, totalMillis: 5000 };
      return openSftp(to, { timeoutMillis: millis, sftp }, patience);
    };
    const large = objectOf("p/r/large", randomBytes(3_000_000));

    beforeEach(async () => void (proxy = await startTcpProxy(sshd!.port)));
    afterEach(async () => {
      await proxy.close();
      await reset();
    });

    it("goes on reading where it broke off, but not in another file", async () => {
      const destination = await through();
      await destination.put(large, never);
      const pieces: Uint8Array[] = [];
      for await (const piece of destination.get(large.name, never)) {
        if (pieces.length === 3) proxy.reset();
        pieces.push(Uint8Array.from(piece));
      }
      assert.ok(Buffer.concat(pieces).equals(large.bytes));
      const reading = destination.get(large.name, never)[Symbol.asyncIterator]();
      await reading.next();
      await writeFile(path(large.name), "another file");
      proxy.reset();
      const rest = (async () => {
        while (!(await reading.next()).done);
      })();
      await expectError("destination-failed", rest);
      await destination.close();
    });

    it("says that nobody listens", async () => {
      const destination = await through();
      await proxy.close();
      const error = await expectError("destination-unreachable", destination.put(page, never));
      assert.match(error.message, /the SSH server did not answer \(ECONNREFUSED\)/);
      await destination.close();
    });
  });
});
