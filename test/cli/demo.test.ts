import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { harmless } from "../../src/cli/screen.ts";
import { openDesk, type Desk } from "./spawn-cli.ts";

describe("demo", () => {
  let desk: Desk;
  /** For temporary files of the demo alone: databases of others come and go beside it. */
  let env: { readonly TMPDIR: string };
  beforeEach(async () => {
    desk = await openDesk();
    env = { TMPDIR: await mkdtemp(join(tmpdir(), "spillway-demo-test-")) };
    // Where root runs the demo, its database is another account's.
    await chmod(env.TMPDIR, 0o755);
  });
  afterEach(async () => {
    await desk.remove();
    await rm(env.TMPDIR, { recursive: true });
  });

  const left = async () =>
    (await readdir(env.TMPDIR)).filter((name) => name.startsWith("spillway-postgres-"));

  it("exports, proves and shows rows of a database that is gone afterwards", async () => {
    const { code, stdout } = await desk.cli(["demo", "--rows", "3000", "--keep", "kept"], env);
    assert.equal(code, 0);
    for (const told of [
      "1  A database",
      "3,000 clinical rows",
      "encrypt: { to: age1",
      "✔ every page opened, in its place, 3,000 records counted",
      "memory +[0-9.]+ MiB of 96 MiB",
      "id +patient +effective",
      "sha256sum -c --quiet SHA256SUMS",
      "age -d -i .*/kept/key.txt",
    ])
      assert.match(stdout, new RegExp(told));
    assert.equal(harmless(stdout), stdout);
    const kept = join(desk.folder, "kept");
    assert.deepEqual((await readdir(kept)).sort(), [
      "export.yaml",
      "exports",
      "key.txt",
      "report.json",
      "signer.pem",
      "signing-key.pem",
    ]);
    const report = JSON.parse(await readFile(join(kept, "report.json"), "utf8"));
    assert.equal(report.rows, 3000);
    assert.deepEqual(await left(), []);
  });

  it("refuses a place where no folder can be made, before a database is", async () => {
    await desk.write("taken", "mine");
    const { code, document } = await desk.json(["demo", "--keep", "taken/kept"], env);
    assert.deepEqual([code, document.error.code], [2, "config-invalid"]);
    assert.deepEqual(await left(), []);
  });

  it("cleans up when it is interrupted", async () => {
    const started = desk.start(["demo", "--rows", "3000000", "--keep", "kept"], env);
    for (let tries = 0; tries < 100 && (await left()).length === 0; tries += 1) await sleep(50);
    await sleep(1000);
    started.child.kill("SIGINT");
    const { code } = await started.ended;
    assert.equal(code, 130);
    assert.deepEqual(await left(), []);
  });
});
