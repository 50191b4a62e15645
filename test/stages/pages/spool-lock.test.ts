import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { utimesSync } from "node:fs";
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
