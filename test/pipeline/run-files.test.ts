import assert from "node:assert/strict";
import { chmod, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makePrivate } from "../../src/pipeline/run-files.ts";
import { realDisk } from "../../src/stages/world.ts";
import { useFolder } from "../fixtures/pipelines.ts";

describe("run-files", () => {
  const folder = useFolder();
  const make = (path: string) => makePrivate({ disk: realDisk, path });

  it("makes a folder for its owner alone, and refuses what is there and is none", async () => {
    const path = folder.next();
    await make(path);
    await make(path);
    assert.equal((await stat(path)).mode & 0o777, 0o700);
    await chmod(path, 0o701);
    await assert.rejects(make(path), { code: "config-invalid", message: /chmod 700/ });
    const [file, link, target] = [folder.next(), folder.next(), folder.next()];
    await writeFile(file, "");
    await mkdir(target, { mode: 0o700 });
    await symlink(target, link);
    for (const taken of [file, link])
      await assert.rejects(make(taken), { code: "config-invalid", message: /must be a folder/ });
  });

  it("tells where the disk has no folder for it, and why", async () => {
    const file = folder.next();
    await writeFile(file, "");
    await assert.rejects(make(join(file, "observations")), {
      code: "spool-failed",
      message: `spool: cannot make ${join(file, "observations")} (ENOTDIR)`,
    });
  });
});
