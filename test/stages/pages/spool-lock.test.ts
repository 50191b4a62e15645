import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { takeLock } from "../../../src/stages/pages/spool-lock.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

describe("spool-lock", () => {
  const folder = useFolder();

  it("is held by one at a time, and may be given back twice", () => {
    const path = folder.next();
    const lock = takeLock(path, "observations");
    assert.throws(() => takeLock(path, "observations"), {
      code: "already-running",
      exitCode: 7,
      message:
        process.platform === "linux"
          ? new RegExp(`another run of observations holds its spool \\(process ${process.pid}\\);`)
          : /another run of observations/,
    });
    lock.release();
    lock.release();
    takeLock(path, "observations").release();
  });

  it("is held however old its file seems to be", () => {
    const path = folder.next();
    const lock = takeLock(path, "observations");
    for (const seconds of [0, Date.now() / 1000, 4e9]) {
      utimesSync(path, seconds, seconds);
      assert.throws(() => takeLock(path, "observations"), { code: "already-running" });
    }
    lock.release();
    takeLock(path, "observations").release();
  });

  it("goes to one of two that ask at the same instant, though each holds what looking needs", () => {
    const path = folder.next();
    takeLock(path, "observations").release();
    const other = new DatabaseSync(path);
    other.exec("BEGIN; SELECT * FROM sqlite_master");
    takeLock(path, "observations").release();
    other.close();
  });

  it("names the process that holds it where the kernel tells, and refuses as well where it does not", () => {
    const path = folder.next();
    const lock = takeLock(path, "observations");
    const held = `1: POSIX ADVISORY WRITE 4711 fd:00:${statSync(path).ino} 1073741825 1073741825`;
    const ours = (pid: number) => held.replace("4711", String(pid));
    const gone = () => assert.fail("there is no such table here");
    const refused = (readLocks: () => string, who: string) =>
      assert.throws(() => takeLock(path, "observations", readLocks), {
        code: "already-running",
        message: `another run of observations holds its spool${who}; wait for it to end, or give this pipeline another name`,
      });
    refused(() => `\n${held}\n`, " (process 4711)");
    const tables = ["", "", held];
    refused(() => tables.shift()!, " (process 4711)");
    refused(() => "", "");
    refused(gone, "");
    // A reader, one who only waits, a file of its own, and a holder in another container.
    for (const other of [
      held.replace("WRITE", "READ"),
      held.replace("1073741825", "0"),
      held.replace("POSIX", "FLOCK"),
      held.replace(/fd:00:\d+/, "fd:00:1"),
      ours(0),
    ])
      refused(() => other, "");
    lock.release();
  });

  it("is refused for a file that is none of ours, and lets go of it", () => {
    const path = folder.next();
    writeFileSync(path, "not a database ".repeat(1000));
    assert.throws(() => takeLock(path, "observations"), {
      code: "spool-failed",
      message: /cannot be locked; .* remove it and run again/,
    });
    rmSync(path);
    takeLock(path, "observations").release();
    const taken = folder.next();
    mkdirSync(taken);
    assert.throws(() => takeLock(taken, "observations"), { code: "spool-failed" });
  });

  it("tells a disk on which its file cannot be made", () => {
    assert.throws(() => takeLock(join(folder.next(), "lock.db"), "observations"), {
      code: "spool-failed",
      message: /the disk refused \(ENOENT\)/,
    });
  });

  it("is held across processes and falls with the one that holds it, however it dies", async () => {
    const path = folder.next();
    const module = fileURLToPath(
      new URL("../../../src/stages/pages/spool-lock.ts", import.meta.url),
    );
    const program = `const { takeLock } = await import(${JSON.stringify(module)});
      globalThis.lock = takeLock(${JSON.stringify(path)}, "x");
      console.log("held"); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(holder.stdout, "data");
      assert.throws(() => takeLock(path, "x"), { code: "already-running" });
    } finally {
      holder.kill("SIGKILL");
      await once(holder, "exit");
    }
    takeLock(path, "x").release();
  });
});
