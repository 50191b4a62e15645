import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { harmless } from "../../src/cli/screen.ts";
import { openDesk, type Desk } from "./spawn-cli.ts";

const databases = async () =>
  (await readdir(tmpdir())).filter((name) => name.startsWith("spillway-postgres-"));

describe("demo", () => {
  let desk: Desk;
  let before_: readonly string[];
  beforeEach(async () => {
    desk = await openDesk();
    before_ = await databases();
  });
  afterEach(() => desk.remove());

  const left = async () => (await databases()).filter((name) => !before_.includes(name));

  it("exports, proves and shows rows of a database that is gone afterwards", async () => {
    const { code, stdout } = await desk.cli(["demo", "--rows", "3000", "--keep", "kept"]);
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

  it("cleans up when it is interrupted", async () => {
    const started = desk.start(["demo", "--rows", "3000000", "--keep", "kept"]);
    for (let tries = 0; tries < 100 && (await left()).length === 0; tries += 1) await sleep(50);
    await sleep(1000);
    started.child.kill("SIGINT");
    const { code } = await started.ended;
    assert.equal(code, 130);
    assert.deepEqual(await left(), []);
  });
});
