import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Decrypter, Encrypter, armor, generateHybridIdentity } from "age-encryption";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import {
  checkRecipients,
  generateAgeIdentity,
  identityToRecipient,
  openAge,
  ageBodyHolds,
  openAgeBody,
  parseIdentityFile,
  sealAge,
} from "../../src/workers/age.ts";
import { sealAgeBody } from "../../src/workers/age-body.ts";
import { needTools, runTool } from "../fixtures/stock-tools.ts";

const chunk = 65536;
const edgeSizes = [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 1 << 20];

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

describe("age", () => {
  let identity: string;
  let recipient: string;
  let folder: string;

  before(async () => {
    identity = await generateAgeIdentity();
    recipient = await identityToRecipient(identity);
    folder = await mkdtemp(join(tmpdir(), "spillway-age-"));
    await writeFile(join(folder, "key.txt"), `# test\n${identity}\n`);
  });
  after(() => rm(folder, { recursive: true }));

  const seal = async (frame: Uint8Array) => (await sealAge(frame, { to: [recipient] })).sealed;
  const open = (sealed: Uint8Array) => openAge(sealed, { identities: [identity] });

  it("opens what it sealed, at every edge of the 64 KiB chunks, from shared memory too", async () => {
    for (const bytes of edgeSizes) {
      const frame = new Uint8Array(new SharedArrayBuffer(bytes));
      frame.set(randomBytes(bytes));
      const { sealed, headerBytes, fileKey } = await sealAge(frame, { to: [recipient] });
      assert.equal(sealed.byteLength, sealed.buffer.byteLength);
      assert.equal(Buffer.compare(await open(sealed), frame), 0);
      assert.equal(Buffer.compare(openAgeBody(sealed, headerBytes, fileKey), frame), 0);
    }
  });

  it("holds the frame it was made of and no other, longer or shorter, at every edge", async () => {
    for (const bytes of edgeSizes) {
      const frame = randomBytes(bytes);
      const { sealed, headerBytes, fileKey } = await sealAge(frame, { to: [recipient] });
      const holds = (other: Uint8Array) => ageBodyHolds(other, sealed, headerBytes, fileKey);
      assert.ok(holds(frame));
      assert.ok(!holds(Buffer.concat([frame, Buffer.alloc(1)])));
      if (bytes === 0) continue;
      assert.ok(!holds(frame.subarray(1)) && !holds(frame.subarray(0, -1)));
      for (const at of [0, bytes >> 1, bytes - 1]) {
        const other = Buffer.from(frame);
        other[at]! ^= 1;
        assert.ok(!holds(other), `byte ${at} of ${bytes}`);
      }
      sealed[sealed.length - 1]! ^= 1;
      assert.throws(() => holds(frame), { code: "integrity-failed" });
    }
  });

  it("is opened by the age-encryption library and opens what that sealed, at every edge", async () => {
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient);
    for (const bytes of edgeSizes) {
      const frame = new Uint8Array(randomBytes(bytes));
      assert.deepEqual(await decrypter.decrypt(await seal(frame)), frame);
      assert.deepEqual(await open(await encrypter.encrypt(frame)), frame);
    }
  });

  it("is opened by stock age and opens what stock age sealed, at every edge", async function () {
    needTools(this, "age");
    for (const bytes of edgeSizes) {
      const frame = new Uint8Array(randomBytes(bytes));
      const opened = runTool("age", ["-d", "-i", join(folder, "key.txt")], await seal(frame));
      assert.equal(Buffer.compare(opened, frame), 0);
      const sealed = runTool("age", ["-r", recipient], frame);
      assert.equal(Buffer.compare(await open(sealed), frame), 0);
    }
  });

  it("uses a fresh file key for every page", async () => {
    const frame = Buffer.from("the same page twice");
    const [one, two] = [
      await sealAge(frame, { to: [recipient] }),
      await sealAge(frame, { to: [recipient] }),
    ];
    assert.notDeepEqual(one.fileKey, two.fileKey);
    assert.notDeepEqual(one.sealed, two.sealed);
  });

  it("draws a fresh nonce for every body, even under one key", () => {
    const [header, frame, fileKey] = [Buffer.from("header"), Buffer.from("page"), randomBytes(16)];
    const nonces = Array.from({ length: 100 }, () =>
      Buffer.from(sealAgeBody(header, frame, fileKey)).toString("hex", 6, 22),
    );
    assert.equal(new Set(nonces).size, 100);
  });

  it("seals for several recipients, each of whom opens it alone", async () => {
    const others = [await generateAgeIdentity(), await generateHybridIdentity()];
    const to = [recipient, ...(await Promise.all(others.map(identityToRecipient)))];
    // Hybrid and classic recipients are both passed on to the library.
    const { sealed } = await sealAge(Buffer.from("for all"), { to });
    for (const who of [identity, ...others]) {
      const opened = await openAge(sealed, { identities: [who] });
      assert.equal(Buffer.from(opened).toString(), "for all");
    }
  });

  it("refuses every truncation at and around chunk boundaries", async () => {
    const sealed = await seal(randomBytes(3 * chunk));
    const bodyAt = sealed.length - 3 * (chunk + 16);
    const cuts = new Set<number>();
    for (let at = 0; at <= bodyAt + 1; at += 1) cuts.add(at);
    for (const boundary of [0, 1, 2, 3].map((n) => bodyAt + n * (chunk + 16))) {
      for (const near of [-17, -16, -15, -1, 0, 1, 15, 16, 17]) cuts.add(boundary + near);
    }
    cuts.delete(sealed.length);
    for (const cut of cuts) {
      if (cut > sealed.length) continue;
      await assert.rejects(
        open(sealed.subarray(0, cut)),
        failsWith("integrity-failed"),
        `cut ${cut}`,
      );
    }
  });

  it("refuses bytes after the end, an empty last chunk and swapped chunks", async () => {
    const sealed = await seal(randomBytes(2 * chunk));
    const bodyAt = sealed.length - 2 * (chunk + 16);
    const [head, one, two] = [
      sealed.subarray(0, bodyAt),
      sealed.subarray(bodyAt, bodyAt + chunk + 16),
      sealed.subarray(bodyAt + chunk + 16),
    ];
    const forged = [
      Buffer.concat([sealed, Buffer.from([0])]),
      Buffer.concat([sealed, Buffer.alloc(16)]),
      Buffer.concat([head, two, one]),
      Buffer.concat([head, one, one]),
      Buffer.concat([head, one, two, two]),
    ];
    for (const bytes of forged) await assert.rejects(open(bytes), failsWith("integrity-failed"));
  });

  it("never opens to other bytes when a bit is flipped", async () => {
    const sealed = await seal(Buffer.from("a short page"));
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const flipped = Uint8Array.from(sealed);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      // A flip in the stanza looks like a page for somebody else.
      await assert.rejects(
        open(flipped),
        (error: unknown) => failsWith("integrity-failed")(error) || failsWith("key-wrong")(error),
        `bit ${bit}`,
      );
    }
  });

  it("says key-wrong for a stranger's key and a wrong passphrase, and asks for a missing one", async () => {
    const stranger = await generateAgeIdentity();
    const sealed = await seal(Buffer.from("x"));
    const locked = (await sealAge(Buffer.from("x"), { passphrase: "right horse battery" })).sealed;
    await assert.rejects(openAge(sealed, { identities: [stranger] }), failsWith("key-wrong"));
    await assert.rejects(openAge(sealed, {}), failsWith("input-missing"));
    await assert.rejects(
      openAge(sealed, { passphrase: "right horse battery" }),
      failsWith("key-wrong"),
    );
    await assert.rejects(openAge(locked, { passphrase: "wrong" }), failsWith("key-wrong"));
    await assert.rejects(openAge(locked, { identities: [identity] }), failsWith("key-wrong"));
  });

  it("refuses recipients it cannot seal to and prints none of them", async () => {
    const bad: Parameters<typeof sealAge>[1][] = [
      { to: ["age1nonsense"] },
      { to: [recipient, identity] },
      { to: ["ssh-ed25519 AAAA"] },
      { to: [] },
      {},
      { to: [recipient], passphrase: "both" },
    ];
    for (const recipients of bad) {
      await assert.rejects(sealAge(new Uint8Array(1), recipients), (error: unknown) => {
        assert.ok(error instanceof PipelineError && error.code === "config-invalid");
        assert.ok(!error.message.includes("SECRET") && error.cause === undefined);
        return true;
      });
    }
  });

  it("checks recipients before a run as it does when sealing", async () => {
    const hybrid = await identityToRecipient(await generateHybridIdentity());
    checkRecipients({ to: [recipient, hybrid] });
    const typos = [
      recipient.slice(0, -1),
      `${recipient}q`,
      recipient.toUpperCase(),
      identity,
      "age1",
    ];
    typos.push(hybrid.slice(0, -1), hybrid.replace("age1pq1", "age1tag1"));
    for (const typo of typos) {
      assert.throws(() => checkRecipients({ to: [typo] }), failsWith("config-invalid"), typo);
    }
    // Every mistyped letter is found by the checksum.
    for (let at = 4; at < recipient.length; at += 1) {
      const letter = recipient[at] === "q" ? "p" : "q";
      const typo = recipient.slice(0, at) + letter + recipient.slice(at + 1);
      assert.throws(() => checkRecipients({ to: [typo] }), failsWith("config-invalid"), typo);
    }
  });

  it("refuses headers with anything added, missing or spelled otherwise", async () => {
    const text = Buffer.from(await seal(Buffer.from("x"))).toString("latin1");
    const changes: [string | RegExp, string][] = [
      ["age-encryption.org/v1", "age-encryption.org/v2"],
      ["age-encryption.org/v1\n", "age-encryption.org/v1\r\n"],
      ["-> X25519 ", "-> X25519  "],
      ["-> X25519 ", "-> x25519 "],
      [/(-> X25519 \S+)/, "$1 more"],
      [/(-> X25519 \S+)/, "$1="],
      [/(-> X25519 \S+\n\S+)/, "$1="],
      [/(-> X25519 \S+\n\S{20})/, "$1\n"],
      [/-> X25519 \S+/, `-> X25519 ${"A".repeat(43)}`],
      ["\n--- ", "\n-> grease\n\n--- "],
      [/-> X25519 \S+\n\S+\n/, ""],
      ["\n--- ", "\n---"],
    ];
    for (const [from, to] of changes) {
      const changed = text.replace(from, to);
      assert.notEqual(changed, text);
      const attempt = open(Buffer.from(changed, "latin1"));
      await assert.rejects(
        attempt,
        (error: unknown) => failsWith("integrity-failed")(error) || failsWith("key-wrong")(error),
        to,
      );
    }
  });

  it("refuses an identity that cannot be read and prints nothing of it", async () => {
    const sealed = await seal(new Uint8Array(1));
    for (const text of ["AGE-SECRET-KEY-1TYPO", "hunter2"]) {
      await assert.rejects(openAge(sealed, { identities: [text] }), (error: unknown) => {
        assert.ok(error instanceof PipelineError && error.code === "config-invalid");
        return !error.message.includes(text);
      });
      await assert.rejects(identityToRecipient(text), failsWith("config-invalid"));
    }
  });

  describe("passphrase", () => {
    const passphrase = "seven-otters-läuft-upstream";

    it("opens what it sealed, and the library opens it", async () => {
      const frame = new Uint8Array(randomBytes(70_000));
      const { sealed } = await sealAge(frame, { passphrase });
      assert.deepEqual(await openAge(sealed, { passphrase }), frame);
      const decrypter = new Decrypter();
      decrypter.addPassphrase(passphrase);
      assert.deepEqual(await decrypter.decrypt(sealed), frame);
    });

    it("is opened by stock age", async function () {
      needTools(this, "age", "python3");
      const { sealed } = await sealAge(Buffer.from("by hand"), { passphrase });
      const [file, out] = [join(folder, "page.age"), join(folder, "page")];
      await writeFile(file, sealed);
      const pty = new URL("../fixtures/age-pty.py", import.meta.url).pathname;
      runTool("python3", [pty, passphrase, "age", "-d", "-o", out, file]);
      assert.equal(await readFile(out, "utf8"), "by hand");
    });

    it("refuses a page that asks for more work than its reader can afford", async () => {
      const encrypter = new Encrypter();
      encrypter.setPassphrase(passphrase);
      encrypter.setScryptWorkFactor(10);
      const sealed = await encrypter.encrypt(new Uint8Array(3));
      assert.equal((await openAge(sealed, { passphrase })).length, 3);
      const greedy = Buffer.from(
        Buffer.from(sealed).toString("latin1").replace(" 10\n", " 17\n"),
        "latin1",
      );
      await assert.rejects(openAge(greedy, { passphrase }), failsWith("integrity-failed"));
    });
  });

  describe("identity files", () => {
    it("hold one key a line, comments and empty lines", async () => {
      const other = await generateHybridIdentity();
      const file = `# created: today\n# public key: ${recipient}\n${identity}\r\n\n  ${other}\n`;
      assert.deepEqual(await parseIdentityFile(file), [identity, other]);
      assert.deepEqual(await parseIdentityFile(Buffer.from(file)), [identity, other]);
    });

    it("without a key, or with anything else, are refused", async () => {
      for (const file of ["", "# nothing\n", recipient, `${identity} x`, identity.toLowerCase()]) {
        await assert.rejects(parseIdentityFile(file), failsWith("config-invalid"));
      }
    });

    it("whose armor is damaged are refused, without a word of what they hold", async () => {
      const armored = armor.encode(Buffer.alloc(100, 7));
      const [begin, ...lines] = armored.trimEnd().split("\n");
      const damaged = [lines.slice(0, -1), ["AAAA", ...lines], ["ß", ...lines]];
      for (const rest of damaged) {
        const file = [begin, ...rest].join("\n");
        await assert.rejects(parseIdentityFile(file, "x"), failsWith("config-invalid"), file);
      }
    });

    it("made by stock age-keygen are read", async function () {
      needTools(this, "age-keygen");
      const file = runTool("age-keygen", []).toString();
      const [key] = await parseIdentityFile(file);
      assert.ok(file.includes(await identityToRecipient(key!)));
    });

    it("locked with a passphrase are opened, armored or not", async () => {
      const encrypter = new Encrypter();
      encrypter.setPassphrase("file lock");
      encrypter.setScryptWorkFactor(12);
      const locked = await encrypter.encrypt(`# mine\n${identity}\n`);
      assert.deepEqual(await parseIdentityFile(locked, "file lock"), [identity]);
      assert.deepEqual(await parseIdentityFile(armor.encode(locked), "file lock"), [identity]);
      await assert.rejects(parseIdentityFile(locked, "other"), failsWith("key-wrong"));
      await assert.rejects(parseIdentityFile(locked), failsWith("config-invalid"));
    });
  });
});
