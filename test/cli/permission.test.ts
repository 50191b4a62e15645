/** The command under Node's permission model, with no more than the grants SECURITY.md names. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cliPath, openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

const home = fileURLToPath(new URL("../..", import.meta.url));
const modules = dirname(dirname(realpathSync(fileURLToPath(import.meta.resolve("yaml")))));

describe("the command under Node's permission model", () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await desk.write("rows.ndjson", rowsText(300));
    const { document: key } = await desk.json(["keygen", "--out", "key.txt"]);
    await desk.write("sealed.yaml", pipelineText({ encrypt: `{ to: ${key.recipient} }` }));
    const { code } = await desk.cli(["run", "sealed.yaml", "-q"]);
    assert.equal(code, 0);
    await mkdir(join(desk.folder, "elsewhere"));
  });
  after(() => desk.remove());

  const call = (grants: readonly string[], ...args: readonly string[]) => {
    const read = [home, dirname(modules), join(desk.folder, "out"), join(desk.folder, "key.txt")];
    const flags = ["--permission", ...read.map((path) => `--allow-fs-read=${path}`), ...grants];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, cliPath, ...args], {
      cwd: desk.folder,
      encoding: "utf8",
      env: { PATH: process.env["PATH"], HOME: desk.folder },
    });
    return { status, stdout, stderr };
  };

  it("verifies and prints an export with leave to read it and its key, and nothing more", () => {
    const verified = call([], "verify", "out", "-i", "key.txt", "--json");
    assert.equal(verified.status, 0, verified.stderr);
    assert.equal(JSON.parse(verified.stdout).records, 300);
    const printed = call([], "restore", "out", "--to", "-", "-i", "key.txt");
    assert.equal(printed.status, 0, printed.stderr);
    assert.equal(printed.stdout, rowsText(300));
  });

  it("reads nothing else, and says so", () => {
    const { status, stderr } = call([], "ls", "elsewhere");
    assert.equal(status, 5);
    assert.match(stderr, /ERR_ACCESS_DENIED/);
  });

  it("refuses to export or to restore to a file, for without fsync nothing would be durable", () => {
    const all = [`--allow-fs-read=*`, `--allow-fs-write=*`, "--allow-worker"];
    for (const args of [
      ["run", "sealed.yaml"],
      ["restore", "out", "--to", "restored", "-i", "key.txt"],
    ]) {
      const { status, stderr } = call(all, ...args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, /permission model forbids/);
    }
  });
});
