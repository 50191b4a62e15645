import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { type Desk, openDesk, pipelineText, rowsText } from "./spawn-cli.ts";

/** What the command reads files with is loaded late: out of a bundle, where it was built. */
describe("spillway run reads files", () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    const rows = rowsText(3);
    await desk.write("rows.ndjson", rows);
    await desk.write("rows.json", `[${rows.trimEnd().replaceAll("\n", ",")}]`);
    await desk.write("rows.csv", "id,note\n0,row 0\n1,row 1\n2,row 2\n");
    execFileSync("tar", ["-czf", "rows.tgz", "rows.ndjson"], { cwd: desk.folder });
  });
  after(() => desk.remove());

  for (const source of [
    "json: rows.json",
    "csv: rows.csv",
    "tar: { path: rows.tgz, format: ndjson }",
  ])
    it(`of ${source}`, async () => {
      const [name = ""] = source.split(":");
      const text = pipelineText({ name }).replace("ndjson: rows.ndjson", source);
      const { code, document } = await desk.json(["run", await desk.write(`${name}.yaml`, text)]);
      assert.equal(code, 0);
      assert.equal(document.rows, 3);
    });
});
