import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, hash } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  parseSigner,
  publicText,
  readSignedManifest,
  signManifest,
} from "../../src/pipeline/manifest-signature.ts";
import { loadSigningKey } from "../../src/pipeline/signing-key.ts";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { manifestBytes, sampleHead } from "../fixtures/manifest.ts";
import { needTools, runTool } from "../fixtures/stock-tools.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

describe("a manifest's signature", () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const signer = publicText(privateKey);
  const stranger = publicText(generateKeyPairSync("ed25519").publicKey);
  let bytes: Buffer;
  let signature: Uint8Array;
  before(async () => {
    bytes = await manifestBytes({ ...sampleHead, signer });
    signature = await signManifest(() => [bytes], privateKey);
  });

  /** What a reader is told of the signer. */
  async function check(text: Uint8Array, signed: Uint8Array, pinned?: string) {
    const read = await readSignedManifest(() => [text], signed, pinned);
    assert.equal(read.sha256, hash("sha256", text, "hex"));
    return { signer: read.signer, pinned: read.pinned };
  }

  it("verifies, and says whether the signer was pinned", async () => {
    assert.deepEqual(await check(bytes, signature), { signer, pinned: false });
    const pem = createPublicKey(privateKey).export({ type: "spki", format: "pem" }).toString();
    for (const pinned of [signer, `${signer}\n`, pem]) {
      assert.deepEqual(await check(bytes, signature, pinned), { signer, pinned: true });
    }
  });

  it("finds flipped bytes of the manifest and every one of itself", async () => {
    for (let at = 0; at < bytes.length; at += 3) {
      const flipped = Uint8Array.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      await assert.rejects(check(flipped, signature, at % 2 ? signer : undefined), PipelineError);
    }
    for (let at = 0; at < signature.length; at += 1) {
      const flipped = Uint8Array.from(signature);
      flipped[at]! ^= 1 << (at % 8);
      await assert.rejects(check(bytes, flipped, signer), PipelineError);
    }
    for (const cut of [0, 63]) {
      await assert.rejects(check(bytes, signature.subarray(0, cut)), PipelineError);
    }
  });

  it("of a stranger does not satisfy a pin, even over a manifest that names the stranger", async () => {
    await assert.rejects(check(bytes, signature, stranger), failsWith("integrity-failed"));
    const named = await manifestBytes({ ...sampleHead, signer: stranger });
    const signed = await signManifest(() => [named], privateKey);
    await assert.rejects(check(named, signed, signer), /another signer/);
    await assert.rejects(check(named, signed), failsWith("integrity-failed"));
  });

  it("of a manifest that names no key is refused as the manifest's fault, not the caller's", async () => {
    // The last letter of 32 bytes in base64 has two bits to spare, which are 0.
    const unreadable = `${signer.slice(0, -2)}B=`;
    const named = await manifestBytes({ ...sampleHead, signer: unreadable });
    await assert.rejects(check(named, signature), /its signer is no Ed25519 key/);
  });

  it("is made over a file as over bytes, and verified by openssl", async function () {
    const folder = await mkdtemp(join(tmpdir(), "spillway-manifest-"));
    try {
      const path = join(folder, "manifest.json");
      await writeFile(path, bytes);
      const read = await readFile(path);
      const signed = await signManifest(() => [read], privateKey);
      assert.deepEqual(Buffer.from(signed), Buffer.from(signature));
      assert.equal(Buffer.compare(read, bytes), 0);
      needTools(this, "openssl");
      await writeFile(`${path}.sig`, signed);
      const pem = createPublicKey(privateKey).export({ type: "spki", format: "pem" });
      await writeFile(join(folder, "signer.pem"), pem);
      const said = runTool("openssl", [
        ..."pkeyutl -verify -pubin -rawin -inkey".split(" "),
        join(folder, "signer.pem"),
        "-in",
        path,
        "-sigfile",
        `${path}.sig`,
      ]);
      assert.match(said.toString(), /Verified Successfully/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("needs a signer text that can be read", () => {
    const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
    const bad = [
      "",
      "ed25519:",
      "ed25519:AAAA",
      signer.slice(0, -2),
      signer.slice(8),
      `x${signer}`,
    ];
    for (const text of [...bad, ec.export({ type: "spki", format: "pem" }).toString()]) {
      assert.throws(() => parseSigner(text), failsWith("config-invalid"), text);
    }
  });
});

describe("signing key", () => {
  let folder: string;
  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), "spillway-key-")), "state");
  });
  afterEach(() => rm(join(folder, ".."), { recursive: true }));

  it("is made once, in files only the user can read, and found again", async () => {
    const first = await loadSigningKey(undefined, folder);
    const again = await loadSigningKey(undefined, folder);
    assert.equal(first.made, true);
    assert.equal(again.made, false);
    assert.equal(again.publicText, first.publicText);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.equal((await stat(join(folder, "signing-key.pem"))).mode & 0o777, 0o600);
    assert.equal(await readFile(join(folder, "signer.pem"), "utf8"), first.publicPem);
    assert.deepEqual((await readdir(folder)).sort(), ["signer.pem", "signing-key.pem"]);
  });

  it("is the same for all who race to make it", async () => {
    const keys = await Promise.all(
      Array.from({ length: 8 }, () => loadSigningKey(undefined, folder)),
    );
    assert.equal(new Set(keys.map((key) => key.publicText)).size, 1);
    assert.equal(keys.filter((key) => key.made).length, 1);
  });

  it("may be given as PEM, and then nothing is written", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const key = await loadSigningKey(pem, folder);
    assert.equal(key.publicText, publicText(publicKey));
    await assert.rejects(stat(folder));
  });

  it("is refused when it is no Ed25519 key, readable by others or a symlink", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const pem = rsa.export({ type: "pkcs8", format: "pem" }).toString();
    await assert.rejects(loadSigningKey(pem, folder), failsWith("config-invalid"));
    await assert.rejects(loadSigningKey("hunter2", folder), (error: unknown) => {
      return failsWith("config-invalid")(error) && !String(error).includes("hunter2");
    });
    await loadSigningKey(undefined, folder);
    const path = join(folder, "signing-key.pem");
    await chmod(path, 0o640);
    await assert.rejects(loadSigningKey(undefined, folder), /chmod 600/);
    await rm(path);
    await writeFile(join(folder, "elsewhere.pem"), pem, { mode: 0o600 });
    await symlink(join(folder, "elsewhere.pem"), path);
    await assert.rejects(loadSigningKey(undefined, folder), failsWith("config-invalid"));
  });
});
