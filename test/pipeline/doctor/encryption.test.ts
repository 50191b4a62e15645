/** What `doctor` says of the readers of an export, and of keys that should not lie where it is made. */
import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { examine } from "../../../src/pipeline/doctor/examine.ts";
import { generateAgeIdentity, identityToRecipient } from "../../../src/workers/age.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

describe("a look at encryption", () => {
  const folder = useFolder();
  const identities: string[] = [];
  const to: string[] = [];
  before(async () => {
    for (let count = 0; count < 2; count += 1) {
      const identity = await generateAgeIdentity();
      identities.push(identity);
      to.push(await identityToRecipient(identity));
    }
  });

  /** What is found in a folder of its own, in which `prepare` may leave things. */
  async function look(readers: readonly string[], prepare: (path: string) => Promise<unknown>) {
    const path = folder.next();
    await mkdir(path);
    await prepare(path);
    const stages = `  - ndjson: rows.ndjson
  - serialize: ndjson
  - chunk: 4KiB
  - compress: zstd
  - encrypt: { to: [${readers.join(", ")}] }
  - spool: ./spool
  - upload: ./out`;
    const file = join(path, "export.yaml");
    await writeFile(file, `name: rows\nmemory: 128MiB\nstages:\n${stages}\n`);
    const env = { READER: to[0] };
    const found = await examine(file, { env, signal: new AbortController().signal });
    return found
      .filter(({ area }) => area === "encryption")
      .map(({ level, check, found }) => `${level} ${check}: ${found}`);
  }

  it("counts the readers, and finds nothing that opens the pages in what lies around", async () => {
    const findings = await look(to, async (path) => {
      await mkdir(join(path, "keys"));
      await symlink("round", join(path, "round"));
      await writeFile(join(path, "large.txt"), "#".repeat(70_000) + identities[0]);
      await writeFile(join(path, "notes.txt"), "no key: AGE-SECRET-KEY-1NONSENSE");
      await writeFile(join(path, "stranger.txt"), await generateAgeIdentity());
    });
    assert.deepEqual(findings, [
      "ok readers: 2 public keys",
      "ok sealing: a trial page was sealed, opened again, and was the same",
      "ok keys: no key that opens the pages lies beside the pipeline",
    ]);
  });

  it("warns of a key beside the pipeline, by its name alone", async () => {
    const [readers, , keys] = await look(['"${env:READER}"'], (path) =>
      writeFile(join(path, "key.txt"), `# mine\n${identities[0]}\n`),
    );
    assert.equal(readers, "ok readers: 1 public key");
    assert.equal(keys, "warn keys: key.txt opens the pages");
  });
});
