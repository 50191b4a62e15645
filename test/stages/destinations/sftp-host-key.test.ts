import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { readHostKeys } from "../../../src/stages/destinations/sftp-host-key.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

type Target = Parameters<typeof readHostKeys>[0];

describe("the known keys of an SSH server", () => {
  const folder = useFolder();
  const keys = ["first", "second", "third"].map((text) => Buffer.from(text));
  const [first, second, third] = keys as [Buffer, Buffer, Buffer];
  const base64 = (key: Buffer) => key.toString("base64");
  const read = async (lines: readonly string[], port = 22) => {
    const path = folder.next();
    await writeFile(path, lines.join("\n"));
    return readHostKeys({ host: "Host.example", port } as Target, path);
  };

  it("are those of its name and port, plain or hashed, and none that was revoked", async () => {
    const salt = Buffer.from("salt");
    const hash = createHmac("sha1", salt).update("Host.example").digest("base64");
    const { isTrusted, kinds } = await read([
      "# a comment",
      `host.example ssh-rsa ${base64(first)}`,
      `|1|${base64(salt)}|${hash} ssh-ed25519 ${base64(second)}`,
      `@revoked other,host.example ssh-ed25519 ${base64(second)}`,
      `[host.example]:2222 ssh-ed25519 ${base64(third)}`,
      `@cert-authority host.example ssh-ed25519 ${base64(third)}`,
    ]);
    assert.deepEqual(keys.map(isTrusted), [true, false, false]);
    assert.deepEqual(kinds, ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
  });

  it("are never one that was revoked, for whichever host", async () => {
    for (const hosts of ["*", "*.elsewhere.example", "|1|c2FsdA==|bm9ib2R5"]) {
      const { isTrusted } = await read([
        `host.example ssh-rsa ${base64(first)}`,
        `host.example ssh-ed25519 ${base64(second)}`,
        `@revoked ${hosts} ssh-ed25519 ${base64(second)}`,
      ]);
      assert.deepEqual(keys.map(isTrusted), [true, false, false], hosts);
    }
  });

  it("are found by a hash of the name in small letters, as ssh writes it", async () => {
    const salt = Buffer.from("salt");
    const hash = createHmac("sha1", salt).update("host.example").digest("base64");
    const { isTrusted } = await read([`|1|${base64(salt)}|${hash} ssh-ed25519 ${base64(second)}`]);
    assert.deepEqual(keys.map(isTrusted), [false, true, false]);
  });

  it("have their port in brackets where it is another one", async () => {
    const { isTrusted, kinds } = await read(
      [`host.example ssh-rsa ${base64(first)}`, `[host.example]:2222 ssh-ed25519 ${base64(third)}`],
      2222,
    );
    assert.deepEqual(keys.map(isTrusted), [false, false, true]);
    assert.deepEqual(kinds, ["ssh-ed25519"]);
  });

  it("must be known from somewhere", async () => {
    const unknown = { code: "config-invalid", message: /nothing says which key the SSH server/ };
    await assert.rejects(read([`other ssh-rsa ${base64(first)}`]), unknown);
    const target = { host: "host", port: 22 } as Target;
    await assert.rejects(readHostKeys(target, folder.next()), unknown);
    const path = folder.next();
    await mkdir(path);
    await assert.rejects(readHostKeys(target, path), { code: "EISDIR" });
  });
});
