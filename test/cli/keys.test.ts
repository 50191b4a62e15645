import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { identityToRecipient, parseIdentityFile } from "../../src/workers/age.ts";
import { openDesk, type Desk } from "./spawn-cli.ts";

describe("keygen and init", () => {
  let desk: Desk;
  beforeEach(async () => (desk = await openDesk()));
  afterEach(() => desk.remove());

  const modeOf = async (name: string) => (await stat(join(desk.folder, name))).mode & 0o777;

  it("keygen prints an identity file whose public key is its own", async () => {
    const { stdout, code } = await desk.cli(["keygen"]);
    assert.equal(code, 0);
    const [, recipient] = /^# public key: (age1\w+)$/m.exec(stdout) ?? [];
    const [identity = ""] = await parseIdentityFile(stdout);
    assert.equal(await identityToRecipient(identity), recipient);
  });

  it("keygen --out makes a private file, tells the public key, and never writes over a file", async () => {
    const { document, stdout } = await desk.json(["keygen", "--out", "key.txt"]);
    assert.equal(await modeOf("key.txt"), 0o600);
    assert.doesNotMatch(stdout, /SECRET/);
    const kept = await readFile(join(desk.folder, "key.txt"), "utf8");
    assert.ok(kept.includes(document.recipient));
    const again = await desk.cli(["keygen", "--out", "key.txt"]);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /key\.txt: exists and is never overwritten/);
    assert.equal(await readFile(join(desk.folder, "key.txt"), "utf8"), kept);
  });

  it("keygen --signing makes an Ed25519 pair once", async () => {
    const { document } = await desk.json(["keygen", "--signing", "keys"]);
    assert.match(document.signer, /^ed25519:[\w+/]{43}=$/);
    assert.equal(await modeOf("keys/signing-key.pem"), 0o600);
    assert.match(
      await readFile(join(desk.folder, document.publicFile), "utf8"),
      /BEGIN PUBLIC KEY/,
    );
    assert.equal((await desk.cli(["keygen", "--signing", "keys"])).code, 2);
  });

  it("init writes a pipeline that plans at once, its schema, and a key it is sealed to", async () => {
    const { document } = await desk.json(["init", "new"]);
    const text = await readFile(join(desk.folder, "new", "export.yaml"), "utf8");
    assert.match(text, /^# yaml-language-server: \$schema=\.\/spillway\.schema\.json\n/);
    assert.ok(text.includes(document.recipients[0]));
    assert.equal(await modeOf("new/key.txt"), 0o600);
    const { code, document: plan } = await desk.json(["plan", "new/export.yaml"]);
    assert.equal(code, 0);
    assert.equal(plan.name, "observations");
    const check = await desk.cli(["check", "new/export.yaml"]);
    assert.equal(check.code, 2);
    assert.match(check.stderr, /DATABASE_URL is not set/);
    const env = { DATABASE_URL: "postgres://localhost/clinic" };
    assert.equal((await desk.cli(["check", "new/export.yaml"], env)).code, 0);
  });

  it("init takes the readers' public keys instead, and refuses what is none", async () => {
    const { document: key } = await desk.json(["keygen", "--out", "key.txt"]);
    const { document } = await desk.json(["init", "new", "--recipient", key.recipient]);
    assert.deepEqual(document.recipients, [key.recipient]);
    assert.equal(document.identity, null);
    const wrong = await desk.cli(["init", "other", "--recipient", "age1nobody"]);
    assert.equal(wrong.code, 2);
  });

  it("init writes nothing where one of its files is", async () => {
    await writeFile(join(desk.folder, "key.txt"), "mine");
    const { code, stderr } = await desk.cli(["init"]);
    assert.equal(code, 2);
    assert.match(stderr, /key\.txt exists and is never overwritten/);
    await assert.rejects(stat(join(desk.folder, "export.yaml")));
    assert.equal(await readFile(join(desk.folder, "key.txt"), "utf8"), "mine");
  });
});
