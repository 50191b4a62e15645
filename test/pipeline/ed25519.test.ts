import assert from "node:assert/strict";
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { checkStreamed, signStreamed } from "../../src/pipeline/ed25519.ts";

/** DER of an Ed25519 key (RFC 8410) up to its 32 bytes. */
const privateHead = Buffer.from("302e020100300506032b657004220420", "hex");
const publicHead = Buffer.from("302a300506032b6570032100", "hex");
const order = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The vectors of RFC 8032, section 7.1: secret key, message, signature. */
const vectors = [
  [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  ],
  [
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  ],
  [
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  ],
] as const;

const keyOf = (secret: string) =>
  createPrivateKey({
    key: Buffer.concat([privateHead, Buffer.from(secret, "hex")]),
    format: "der",
    type: "pkcs8",
  });

const inPieces = (message: Uint8Array, bytes: number) => () =>
  Array.from({ length: Math.ceil(message.length / bytes) }, (_, i) =>
    message.subarray(i * bytes, (i + 1) * bytes),
  );

describe("Ed25519 over a message in pieces", () => {
  it("is what RFC 8032 says", async () => {
    for (const [secret, message, signature] of vectors) {
      const key = keyOf(secret);
      const read = inPieces(Buffer.from(message, "hex"), 1);
      const signed = await signStreamed(read, key);
      assert.equal(Buffer.from(signed).toString("hex"), signature);
      assert.equal((await checkStreamed(read, signed, key)).isSound, true);
    }
  });

  it("is what OpenSSL makes, for any key, message and pieces", async () => {
    for (let round = 0; round < 60; round += 1) {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      const message = randomBytes(round * round);
      const read = inPieces(message, 1 + ((round * 7) % 50));
      const signature = await signStreamed(read, privateKey);
      assert.deepEqual(Buffer.from(signature), sign(null, message, privateKey));
      assert.equal((await checkStreamed(read, signature, publicKey)).isSound, true);
    }
  });

  it("accepts a changed signature as little as OpenSSL does", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const message = randomBytes(100);
    const signature = await signStreamed(inPieces(message, 10), privateKey);
    for (let bit = 0; bit < 512; bit += 3) {
      const changed = Uint8Array.from(signature);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const { isSound } = await checkStreamed(inPieces(message, 10), changed, publicKey);
      assert.equal(isSound, verify(null, message, publicKey, changed), `bit ${bit}`);
      assert.equal(isSound, false);
    }
  });

  it("refuses a proof that is larger by the order of the group: one message has one signature", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const signature = Buffer.from(await signStreamed(inPieces(Buffer.from("x"), 1), privateKey));
    const twin = Buffer.from(signature);
    let carry = order;
    for (let at = 32; at < 64; at += 1, carry >>= 8n) {
      carry += BigInt(signature[at]!);
      twin[at] = Number(carry & 0xffn);
    }
    const read = inPieces(Buffer.from("x"), 1);
    assert.equal((await checkStreamed(read, twin, publicKey)).isSound, false);
    assert.equal(verify(null, Buffer.from("x"), publicKey, twin), false);
  });

  it("refuses a key that is no point of the curve, and signatures of another length", async () => {
    const read = inPieces(Buffer.from("x"), 1);
    const key = createPublicKey({
      key: Buffer.concat([publicHead, Buffer.alloc(32, 2)]),
      format: "der",
      type: "spki",
    });
    assert.equal((await checkStreamed(read, new Uint8Array(64), key)).isSound, false);
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const signature = Buffer.from(await signStreamed(read, privateKey));
    for (const bad of [signature.subarray(0, 63), Buffer.concat([signature, Buffer.alloc(1)])]) {
      assert.equal((await checkStreamed(read, bad, publicKey)).isSound, false);
    }
  });

  it("signs nothing that is another message at the second reading", async () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    let time = 0;
    const read = () => [Buffer.from([(time += 1)])];
    await assert.rejects(signStreamed(read, privateKey), { code: "integrity-failed" });
    assert.equal(time, 2);
  });

  it("accepts nothing by a key of small order, under which one signature fits many messages", async () => {
    const smallOrder = [
      "0100000000000000000000000000000000000000000000000000000000000000",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    ].map((text) => Buffer.from(text, "hex"));
    for (const raw of smallOrder) {
      const key = createPublicKey({
        key: Buffer.concat([publicHead, raw]),
        format: "der",
        type: "spki",
      });
      for (const commitment of smallOrder) {
        const signature = Buffer.concat([commitment, Buffer.alloc(32)]);
        for (let message = 0; message < 8; message += 1) {
          const read = inPieces(Buffer.from([message]), 1);
          assert.equal((await checkStreamed(read, signature, key)).isSound, false);
        }
      }
    }
  });
});
