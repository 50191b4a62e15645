/** The cgroup of `npm run prove:cgroup`: its limit is the kernel's, and it leaves nothing behind. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createMemoryCgroup, type MemoryCgroup } from "../../prove/memory-cgroup.ts";

const limitBytes = 96 * 2 ** 20;

describe("a memory cgroup for a proof", () => {
  let group: MemoryCgroup;

  beforeEach(async function () {
    const made = await createMemoryCgroup(limitBytes);
    if (typeof made === "string") {
      console.log(`      ${made}: not tested here`);
      this.skip();
    } else group = made;
  });
  afterEach(() => group?.remove());

  const run = (program: string) =>
    spawnSync("bash", ["-c", `${group.enter} && exec ${process.execPath} -e '${program}'`]);

  it("kills a program that takes more than its limit, and counts that", async () => {
    const { signal } = run("const held = []; for (;;) held.push(Buffer.alloc(2 ** 20, 1));");
    assert.equal(signal, "SIGKILL");
    const { oomKills, peakBytes } = await group.events();
    assert.equal(oomKills, 1);
    assert(peakBytes <= limitBytes && peakBytes > limitBytes / 2, String(peakBytes));
  });

  it("leaves a program alone that takes less", async () => {
    const { status } = run("Buffer.alloc(2 ** 24, 1)");
    assert.equal(status, 0);
    const { oomKills, peakBytes } = await group.events();
    assert.equal(oomKills, 0);
    assert(peakBytes > 2 ** 24, String(peakBytes));
  });

  it("is gone when it is removed", async () => {
    const folder = /'(.+)\/cgroup.procs'/.exec(group.enter)?.[1] ?? "";
    assert(existsSync(folder));
    await group.remove();
    assert(!existsSync(folder));
    const again = await createMemoryCgroup(limitBytes);
    assert(typeof again !== "string");
    group = again;
  });
});
