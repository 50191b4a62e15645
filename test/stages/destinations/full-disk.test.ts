/** A disk that is really full: a small tmpfs in a mount namespace of its own, where the system allows one. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const inNamespace = ["--user", "--map-root-user", "--mount", "sh", "-c"];
const script = 'mount -t tmpfs -o size=512k none "$1" && exec "$2" "$3" "$4" "$1"';

describe("destinations on a full disk", () => {
  let base: string;

  before(async function () {
    base = await mkdtemp(join(tmpdir(), "spillway-full-"));
    const probe = spawnSync("unshare", [...inNamespace, 'mount -t tmpfs none "$0"', base]);
    if (probe.status === 0) return;
    console.log("      mount namespaces are not allowed here: full disks are not tested");
    this.skip();
  });
  after(() => rm(base, { recursive: true }));

  for (const scheme of ["file", "tar"]) {
    it(`${scheme}: say so, keep nothing torn, and go on when there is room`, async () => {
      const child = join(import.meta.dirname, "../../fixtures/fill-destination.ts");
      const words = ["sh", base, process.execPath, child, scheme];
      const { stdout } = await run("unshare", [...inNamespace, script, ...words]);
      assert.deepEqual(JSON.parse(stdout), {
        small: "stored",
        large: "destination-failed",
        message: "no space left at the destination while storing",
        afterwards: ["p/r/later", "p/r/small"],
        incoming: 0,
        again: "stored",
      });
    });
  }
});
