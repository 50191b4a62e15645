import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

/** Says so when a process is made to end, or to become another one, rather than ending by itself. */
const watchful = `
import { writeSync } from "node:fs";
const tell = (how) => writeSync(2, "ended by " + how + "\\n");
const { exit, execve } = process;
process.exit = (code) => (tell("process.exit"), exit(code));
process.execve = (file, args, env) => {
  if (args.includes("-e")) tell("process.execve");
  return execve(file, args, env);
};
`;

describe("the process of a command", () => {
  let desk: Desk;
  let env: Record<string, string>;
  before(async () => {
    desk = await openDesk();
    await desk.write("watchful.mjs", watchful);
    env = { NODE_OPTIONS: `--import=${join(desk.folder, "watchful.mjs")}` };
    await desk.write("rows.ndjson", rowsText(2000));
    await desk.write("export.yaml", pipelineText());
  });
  after(() => desk.remove());

  const commands: readonly [line: string, exit: number][] = [
    ["--version", 0],
    ["run export.yaml", 0],
    ["run missing.yaml", 2],
    ["plan export.yaml", 0],
    ["check export.yaml", 0],
    ["doctor export.yaml", 0],
    ["ls out/rows", 0],
    ["verify out/rows", 0],
    ["verify nowhere", 5],
    ["cat out/rows", 0],
    ["restore out/rows --to restored", 0],
  ];
  // nodejs/node#54918: one that is made to end may wait for ever.
  for (const [line, exit] of commands)
    it(`ends by itself: ${line}`, async () => {
      const { code, stderr } = await desk.cli(line.split(" "), env);
      assert.equal(code, exit, stderr);
      assert.doesNotMatch(stderr, /ended by/);
    });

  for (const code of [0, 3])
    it(`does not say ${code} when a module ends it before all is stored`, async () => {
      await desk.write("leaves.mjs", `export default () => process.exit(${code});`);
      await desk.write(
        "leaves.yaml",
        pipelineText({ name: "leaves", stages: ["map: ./leaves.mjs"] }),
      );
      const ended = await desk.json(["run", "leaves.yaml"]);
      assert.equal(ended.code, 1);
      assert.equal(ended.document.error.exitCode, 1);
      assert.match(ended.stderr, /ended from within, before its work was done/);
    });

  it("is ended where its reader has left", async () => {
    const { child, ended } = desk.start(["cat", "out/rows"], env);
    child.stdout?.destroy();
    const { code, stderr } = await ended;
    assert.equal(code, 0);
    assert.match(stderr, /^ended by process\.execve$/m);
  });

  /** An export whose rows pass a module of the user's. */
  const runWith = async (name: string, module: string, ...more: string[]) => {
    await desk.write(`${name}.mjs`, module);
    const stages = [`map: { module: ./${name}.mjs }`];
    await desk.write(`${name}.yaml`, pipelineText({ name, stages }));
    return desk.json(["run", `${name}.yaml`, ...more]);
  };
  const passing = "export default (row) => row;\n";
  const timer = `setInterval(() => {}, 1000);\n${passing}`;

  it("keeps to what it said when something left behind throws", async () => {
    const late = `process.once("beforeExit", () => setTimeout(() => { throw new Error("late"); }));`;
    const { code, stderr, document } = await runWith("late", `${late}\n${passing}`);
    assert.equal(code, 0, stderr);
    assert.equal(document.state, "committed");
  });

  it("waits for nothing that a module leaves open, and still writes profiles", async () => {
    const { code, stderr } = await runWith("timer", timer, "--profile", "profiles");
    assert.equal(code, 0, stderr);
    const names = await readdir(join(desk.folder, "profiles"));
    assert.ok(
      names.some((name) => /\.0\.\d+\.cpuprofile$/.test(name)),
      "of the main thread",
    );
  });

  it("tells a module that listens for the end", async () => {
    const heard = `process.on("exit", () => process.stderr.write("heard\\n"));\n`;
    const { code, stderr } = await runWith("heard", heard + timer);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^heard$/m);
  });
});
