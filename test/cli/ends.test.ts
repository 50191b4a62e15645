import assert from "node:assert/strict";
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
      const ended = await desk.cli(["run", "leaves.yaml"]);
      assert.equal(ended.code, 1);
      assert.match(ended.stderr, /ended from within, before its work was done/);
    });

  it("is ended where its reader has left", async () => {
    const { child, ended } = desk.start(["cat", "out/rows"], env);
    child.stdout?.destroy();
    const { code, stderr } = await ended;
    assert.equal(code, 0);
    assert.match(stderr, /^ended by process\.execve$/m);
  });
});
