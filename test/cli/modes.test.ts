/** What is made is for its owner alone, whatever the umask allows. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cliPath, openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

/** Public halves, schemas and starters are for all to read. */
const forAll =
  /^(made(\/(export\.yaml|spillway\.schema\.json))?|keys\/signer\.pem|state\/spillway\/signer\.pem)$/;

describe("modes of what is made", () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await openDesk();
    await desk.write("rows.ndjson", rowsText(2000));
    await desk.write(
      "slow.mjs",
      "export default async (row) => { await new Promise((done) => setTimeout(done, row.id > 1900 ? 60_000 : 0)); return row; };",
    );
  });
  afterEach(() => desk.remove());

  const call = (umask: string, ...args: readonly string[]) => {
    const script = `umask ${umask}; exec "$@"`;
    const command = [process.execPath, cliPath, ...args];
    const { status, stderr } = spawnSync("sh", ["-c", script, "sh", ...command], {
      cwd: desk.folder,
      encoding: "utf8",
      env: {
        PATH: process.env["PATH"],
        HOME: desk.folder,
        XDG_STATE_HOME: join(desk.folder, "state"),
      },
    });
    assert.equal(status, 0, stderr);
  };

  /** Whatever the group or others may do something with. */
  const openToOthers = async (): Promise<string[]> => {
    const found: string[] = [];
    for (const folder of ["state", "spool", "out", "keys", "made", "restored", "key.txt"])
      for (const name of [
        "",
        ...(await readdir(join(desk.folder, folder), { recursive: true }).catch(() => [])),
      ]) {
        const path = join(folder, name);
        const { mode } = await lstat(join(desk.folder, path));
        if ((mode & 0o077) !== 0 && !forAll.test(path))
          found.push(`${path} ${(mode & 0o777).toString(8)}`);
      }
    return found;
  };

  for (const umask of ["000", "077"])
    it(`with umask ${umask}: state, spool, keys, pages and restored rows are closed to others`, async () => {
      call(umask, "keygen", "--out", "key.txt");
      call(umask, "keygen", "--signing", "keys");
      call(umask, "init", "made");
      await desk.write("a.yaml", pipelineText());
      call(umask, "run", "a.yaml", "-q");
      call(umask, "restore", "out", "--to", "restored", "-q");
      assert.deepEqual(await openToOthers(), []);
    });

  it("with umask 000: what a killed run leaves in its spool is closed to others", async () => {
    await desk.write("a.yaml", pipelineText({ stages: ["map: ./slow.mjs"] }));
    const before = process.umask(0);
    const { child, ended } = desk.start(["run", "a.yaml", "-q"]);
    process.umask(before);
    await desk.until("spool/rows/pages");
    await sleep(500);
    child.kill("SIGKILL");
    await ended;
    const mode = async (name: string) => (await lstat(join(desk.folder, name))).mode & 0o777;
    assert.equal(await mode("spool/rows"), 0o700);
    for (const name of await readdir(join(desk.folder, "spool", "rows"), { recursive: true })) {
      const found = await lstat(join(desk.folder, "spool", "rows", name));
      assert.equal(found.mode & 0o777, found.isDirectory() ? 0o700 : 0o600, name);
    }
  });
});
