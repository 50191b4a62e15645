/** What a crash may leave of a signing key that was being made, and folders that take none. */
import assert from "node:assert/strict";
import { chmod, chown, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadSigningKey } from "../../src/pipeline/signing-key.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { mountSmallDisk } from "../fixtures/small-disk.ts";
import { nobody, withoutRoot } from "../fixtures/without-root.ts";

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

describe("a folder for the signing key", () => {
  const folder = useFolder();

  it("that takes no more files gives the key it has", async () => {
    const state = folder.next();
    const { publicText } = await loadSigningKey(undefined, state);
    const signer = join(state, "signer.pem");
    await rm(signer);
    if (process.getuid?.() === 0) {
      await chmod(folder.path, 0o755);
      for (const path of [state, join(state, "signing-key.pem")]) await chown(path, nobody, nobody);
    }
    await chmod(state, 0o500);
    const again = await withoutRoot(() => loadSigningKey(undefined, state));
    await chmod(state, 0o700);
    assert.deepEqual([again.publicText, again.made], [publicText, false]);
    assert.deepEqual(await readdir(state), ["signing-key.pem"]);
  });

  it("that is full may take it later; what is no key's place is not used", async function () {
    const taken = folder.next();
    await mkdir(join(taken, "signing-key.pem"), { recursive: true, mode: 0o700 });
    await chmod(join(taken, "signing-key.pem"), 0o700);
    const refused = {
      code: "config-invalid",
      message: /cannot be used \(EISDIR\); expected a plain/,
    };
    await assert.rejects(loadSigningKey(undefined, taken), refused);
    const disk = folder.next();
    const unmount = await mountSmallDisk(this, disk);
    try {
      await writeFile(join(disk, "all"), Buffer.alloc(70_000)).catch(() => {});
      const full = { code: "disk-full", message: /cannot be made or read \(ENOSPC\); see to its/ };
      await assert.rejects(loadSigningKey(undefined, disk), full);
      assert.deepEqual(await readdir(disk), ["all"]);
    } finally {
      unmount();
    }
  });
});
