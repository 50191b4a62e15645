import assert from "node:assert/strict";
import { hash } from "node:crypto";
import * as v from "valibot";
import { checkConfig } from "../../../src/pipeline/check-config.ts";
import type { Page } from "../../../src/stages/nouns.ts";
import { encrypt, encryptWork } from "../../../src/stages/pages/encrypt.ts";
import { generateAgeIdentity, identityToRecipient, openAge } from "../../../src/workers/age.ts";
import { createPool, type Pool } from "../../../src/workers/pool.ts";
import { checkStageContract, testContext } from "../../contract/stage-contract.ts";
import { contentOf, leasedPages } from "../../fixtures/pages.ts";

const identities = (pages: readonly Page[]) =>
  pages.map(({ page, chain, final, extension }) => ({ page, chain, final, extension }));

describe("encrypt", () => {
  let pool: Pool;
  let key: string;
  let to: string;
  before(async () => {
    pool = createPool(2);
    key = await generateAgeIdentity();
    to = await identityToRecipient(key);
  });
  after(() => pool.close());

  checkStageContract({
    stage: Object.assign({}, encrypt, { name: "encrypt", config: encrypt.config.options[0] }),
    config: () => ({ to: [to] }),
    required: ["to"],
    wrong: { to: "AGE-SECRET-KEY-1QQ" },
    makeInput: (_pieces, ctx) => leasedPages(7, ctx),
    context: () => ({ pool }),
    contentOf: identities,
  });

  it("seals each page as an age file of its own, and knows its digest", async () => {
    const context = testContext({ pool });
    const config = v.parse(encrypt.config, { to });
    for await (const page of encrypt.open(config, context, leasedPages(3, context))) {
      const opened = await openAge(page.content, { identities: [key] });
      assert.equal(Buffer.from(opened).toString(), contentOf(page.page));
      assert.equal(page.extension, "ndjson.age");
      assert.deepEqual(Buffer.from(page.sealedDigest), hash("sha256", page.content, "buffer"));
      page.release();
    }
    assert.equal(context.lease.inUseBytes, 0);
  });

  it("seals pages for a passphrase, and for nobody with another", async () => {
    const context = testContext({ pool });
    const passphrase = "long enough for it";
    const config = v.parse(encrypt.config, { passphrase });
    for await (const { content, release } of encrypt.open(
      config,
      context,
      leasedPages(1, context),
    )) {
      const opened = await openAge(content, { passphrase });
      assert.equal(Buffer.from(opened).toString(), contentOf(0));
      await assert.rejects(openAge(content, { passphrase: "another passphrase" }), {
        code: "key-wrong",
      });
      release();
    }
    assert.equal(context.lease.inUseBytes, 0);
  });

  it("leaves pages readable only by the word none", async () => {
    const context = testContext({ pool });
    const config = v.parse(encrypt.config, { mode: "none" });
    for await (const page of encrypt.open(config, context, leasedPages(2, context))) {
      assert.equal(Buffer.from(page.content).toString(), contentOf(page.page));
      assert.equal(page.extension, "ndjson");
      page.release();
    }
    assert.deepEqual(encryptWork({ mode: "none" }), {});
  });

  it("refuses to be silent, empty, mixed or vague about who may read", () => {
    const wrong = [
      {},
      { to: [] },
      { to: "" },
      { mode: "off" },
      { mode: "none", to: "age1qq" },
      { passphrase: "short" },
      { to: "age1qq", passphrase: "long enough for it" },
      { to: "ssh-ed25519 AAAA" },
    ];
    for (const config of wrong)
      assert.equal(v.safeParse(encrypt.config, config).success, false, JSON.stringify(config));
  });

  it("says what it expects where a bare key stands", () => {
    const { problems } = checkConfig(encrypt.config, { mode: to }, ["encrypt"], "full");
    assert.deepEqual(
      problems.map(({ message }) => message),
      ["expected `to` with public keys, `passphrase`, or the word none"],
    );
  });

  it("counts the memory of scrypt in every thread for a passphrase, nothing for keys", () => {
    assert.equal(encrypt.holds({ to: ["age1qq"] }, 1, 4), 0);
    for (const threads of [1, 4])
      assert.equal(
        encrypt.holds({ passphrase: "long enough for it" }, 1, threads),
        threads * 2 ** 24,
      );
  });

  it("fails with the code of a key that is none, and returns all memory", async () => {
    const context = testContext({ pool });
    const pages = encrypt.open({ to: ["age1wrong"] }, context, leasedPages(5, context));
    await assert.rejects(
      async () => {
        for await (const page of pages) page.release();
      },
      { code: "config-invalid" },
    );
    assert.equal(context.lease.inUseBytes, 0);
  });
});
