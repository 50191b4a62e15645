import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { cliPath, openDesk, pipelineText, rowsText } from "./spawn-cli.ts";

/** A Node of the system that is too old for us, where there is one. */
function oldNode(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(":").filter((name) => name.startsWith("/"));
  return folders
    .filter((folder) => !folder.includes("node_modules"))
    .map((folder) => join(folder, "node"))
    .find((path) => {
      const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
      const [, major = "99", minor = "0"] = /^v(\d+)\.(\d+)/.exec(stdout ?? "") ?? [];
      return Number(major) < 22 || (Number(major) === 22 && Number(minor) < 18);
    });
}

/** What npm would install, with `main` for what was built: the command, and that of an export. */
async function install(folder: string, main: string): Promise<void> {
  await mkdir(join(folder, "dist/js"), { recursive: true });
  await mkdir(join(folder, "bin"));
  await symlink(join(cliPath, "../../node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  await cp(cliPath, join(folder, "bin", "spillway.js"));
  for (const name of ["main", "main-run"])
    await writeFile(join(folder, `dist/js/${name}.js`), main);
}

describe("bin/spillway.js", () => {
  it("started by an older Node, goes on with the bundled one", function () {
    const node = oldNode() ?? this.skip();
    const { stdout, status } = spawnSync(node, [cliPath, "--version"], { encoding: "utf8" });
    assert.equal(status, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
    const failed = spawnSync(node, [cliPath, "plan", "nowhere.yaml"], { encoding: "utf8" });
    assert.equal(failed.status, 2);
  });

  it("passes signals on to it and ends as it ends", async function () {
    const node = oldNode() ?? this.skip();
    const desk = await openDesk();
    try {
      await desk.write("rows.ndjson", rowsText(10));
      await desk.write(
        "wait.mjs",
        "export default () => new Promise((go) => setTimeout(go, 300));",
      );
      await desk.write("wait.yaml", pipelineText({ stages: ["map: ./wait.mjs"] }));
      const child = spawn(node, [cliPath, "run", "wait.yaml"], {
        cwd: desk.folder,
        env: { ...process.env, XDG_STATE_HOME: desk.folder },
      });
      child.stderr.resume();
      const closed = once(child, "close");
      await desk.until("spool/rows/run.json");
      child.kill("SIGTERM");
      const [code] = await closed;
      assert.equal(code, 75);
    } finally {
      await desk.remove();
    }
  });

  it("is ended by SIGUSR2 neither before the command listens nor behind it, also by an older Node", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-bin-"));
    try {
      // A command that takes its time, and says when it begins.
      const main =
        'import { writeSync } from "node:fs"; writeSync(1, "up"); setTimeout(() => writeSync(1, ", end"), 300);';
      await install(folder, main);
      for (const node of [process.execPath, oldNode() ?? process.execPath])
        for (const verb of ["run", "serve"]) {
          const child = spawn(node, [join(folder, "bin/spillway.js"), verb]);
          const closed = once(child, "close");
          let text = "";
          child.stdout.on("data", (bytes: Buffer) => {
            // Not at its end, when nobody listens any more.
            if (text === "") child.kill("SIGUSR2");
            text += bytes.toString();
          });
          assert.deepEqual(await closed, [0, null]);
          assert.equal(text, "up, end");
        }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("keeps an export's allocator lean, and not that of what it starts", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-bin-"));
    try {
      // What the process began with, as far as the platform tells, and what it would hand on.
      const main = `import { existsSync, readFileSync } from "node:fs";
const path = "/proc/self/environ";
const isLean = !existsSync(path) || readFileSync(path, "latin1").includes("MALLOC_ARENA_MAX=1");
console.log(JSON.stringify([isLean, Object.keys(process.env).filter((name) => /^MALLOC_/.test(name))]));`;
      await install(folder, main);
      const env = { ...process.env, MALLOC_CHECK_: "0" };
      for (const node of [process.execPath, oldNode() ?? process.execPath]) {
        const args = [join(folder, "bin/spillway.js"), "run"];
        const { stdout } = spawnSync(node, args, { encoding: "utf8", env });
        assert.deepEqual(JSON.parse(stdout), [true, ["MALLOC_CHECK_"]]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("without any Node to go on with, says what to install and ends with 78", async function () {
    const node = oldNode() ?? this.skip();
    const folder = await mkdtemp(join(tmpdir(), "spillway-bin-"));
    try {
      const alone = join(folder, "spillway.mjs");
      await cp(cliPath, alone);
      const { status, stderr } = spawnSync(node, [alone, "run", "x"], { encoding: "utf8" });
      assert.equal(status, 78);
      assert.match(
        stderr,
        /^spillway needs Node\.js 22\.18 or newer, this is \d+\.\d+\.\d+; install /,
      );
      assert.equal(stderr.trimEnd().split("\n").length, 1);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("runs what was built, unless a source is newer", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-bin-"));
    try {
      for (const name of ["bin", "dist/js", "src/cli"])
        await mkdir(join(folder, name), { recursive: true });
      await writeFile(join(folder, "package.json"), '{ "type": "module" }');
      await cp(cliPath, join(folder, "bin", "spillway.js"));
      await writeFile(join(folder, "dist/js/main.js"), 'console.log("built");');
      await writeFile(join(folder, "src/cli/main.ts"), 'console.log("source" as string);');
      const start = () =>
        spawnSync(process.execPath, [join(folder, "bin/spillway.js")], { encoding: "utf8" }).stdout;
      const touch = (name: string, seconds: number) => utimes(join(folder, name), seconds, seconds);
      await touch("src/cli/main.ts", 1000);
      await touch("dist/js/main.js", 2000);
      assert.equal(start(), "built\n");
      await touch("src/cli/main.ts", 3000);
      assert.equal(start(), "source\n");
      await rm(join(folder, "src"), { recursive: true });
      assert.equal(start(), "built\n");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("says so when its output cannot be written, and ends with 1", async function () {
    if (process.platform !== "linux") this.skip();
    const full = openSync("/dev/full", "w");
    const child = spawn(process.execPath, [cliPath, "schema"], { stdio: ["ignore", full, "pipe"] });
    closeSync(full);
    const [stderr, [code]] = await Promise.all([textOf(child.stderr!), once(child, "close")]);
    assert.equal(code, 1);
    assert.equal(stderr, "spillway: standard output is cut off (ENOSPC)\n");
  });

  it("can be called by a link, as npm makes one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-bin-"));
    try {
      await symlink(cliPath, join(folder, "spillway"));
      const { status } = spawnSync(process.execPath, [join(folder, "spillway"), "--version"]);
      assert.equal(status, 0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
