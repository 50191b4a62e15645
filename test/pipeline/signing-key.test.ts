/** What a crash may leave of a signing key that was being made. */
import assert from "node:assert/strict";
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadSigningKey } from "../../src/pipeline/signing-key.ts";
import { useFolder } from "../fixtures/pipelines.ts";

describe("a signing key whose making was cut off", () => {
  const folder = useFolder();

  it("gets the public half that is missing beside it", async () => {
    const state = folder.next();
    const { publicPem } = await loadSigningKey(undefined, state);
    await rm(join(state, "signer.pem"));
    assert.equal((await loadSigningKey(undefined, state)).made, false);
    assert.equal(await readFile(join(state, "signer.pem"), "utf8"), publicPem);
  });

  it("gets a public half of its own where that of an older key is left", async () => {
    const state = folder.next();
    await loadSigningKey(undefined, state);
    await rm(join(state, "signing-key.pem"));
    const { made, publicPem } = await loadSigningKey(undefined, state);
    assert.equal(made, true);
    assert.equal(await readFile(join(state, "signer.pem"), "utf8"), publicPem);
  });

  it("leaves no half of a key behind", async () => {
    const state = folder.next();
    await loadSigningKey(undefined, state);
    await writeFile(join(state, ".incoming-00000000-0000-4000-8000-000000000000"), "half");
    await loadSigningKey(undefined, state);
    assert.deepEqual((await readdir(state)).toSorted(), ["signer.pem", "signing-key.pem"]);
  });
});
