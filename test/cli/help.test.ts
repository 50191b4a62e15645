import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openDesk, type Desk } from "./spawn-cli.ts";

const verbs =
  "run serve plan scale check count doctor schema verify restore cat ls keygen init demo".split(
    " ",
  );

describe("help and usage", () => {
  let desk: Desk;
  before(async () => (desk = await openDesk()));
  after(() => desk.remove());

  it("lists every verb with a sentence", async () => {
    const { code, stdout, stderr } = await desk.cli(["--help"]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    for (const verb of verbs) assert.match(stdout, new RegExp(`^  ${verb}( .*)?  +\\w`, "m"));
  });

  it("gives every verb a help with an example", async () => {
    const helps = await Promise.all(verbs.map((verb) => desk.cli([verb, "--help"])));
    for (const [index, { code, stdout }] of helps.entries()) {
      const verb = verbs[index]!;
      assert.equal(code, 0, verb);
      assert.match(stdout, new RegExp(`^Usage: spillway ${verb}`));
      assert.match(stdout, new RegExp(`Examples?:\n  spillway ${verb}`));
      assert.match(stdout, /--json/);
      assert.match(stdout, /--quiet/);
    }
  });

  it("prints the version", async () => {
    const { code, stdout } = await desk.cli(["--version"]);
    assert.equal(code, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  it("loads no database, no compression and no source for help, the version and a refusal", async () => {
    const told = join(desk.folder, "loaded.txt");
    const tell = `process.on("exit", () => require("node:fs").appendFileSync(${JSON.stringify(told)}, process.moduleLoadList.join("\\n")));`;
    await desk.write("loaded.cjs", tell);
    const env = { NODE_OPTIONS: `--require ${join(desk.folder, "loaded.cjs")}` };
    for (const call of ["--help", "run --help", "--version", "rnu"])
      await desk.cli(call.split(" "), env);
    const loaded = await readFile(told, "utf8");
    assert.equal(loaded.match(/NativeModule fs\n/g)?.length, 4);
    assert.doesNotMatch(loaded, /NativeModule (sqlite|zlib|https?|tls|dns)\n/);
  });

  it("shows its help and fails when no verb is given", async () => {
    const { code, stdout, stderr } = await desk.cli([]);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /^Usage: spillway/);
  });

  const refusals: readonly [args: readonly string[], told: RegExp][] = [
    [["rnu"], /^spillway: unknown command 'rnu' \(Did you mean run\?\)\n$/],
    [["run", "--jsno", "x"], /^spillway: unknown option '--jsno' \(Did you mean --json\?\)\n$/],
    [["run"], /^spillway: missing required argument 'file'\n$/],
    [["plan", "a", "b"], /too many arguments/],
    [["verify", "x", "--level", "deep"], /Allowed choices are quick, bytes, full/],
    [["cat", "x", "--page", "first"], /expects a whole number/],
    [["restore", "x"], /expected --to <folder>/],
    [["restore", "x", "--to", "-", "--json"], /both want standard output/],
    [["restore", "x", "--to", "-", "--by", "a"], /expected its name, and --to <folder>/],
    [["restore", "x", "--to", "y", "--table", "a", "--by", "a"], /belong together/],
    [["restore", "x", "--to", "y", "--key", "a"], /--key names columns of a table/],
  ];
  for (const [args, told] of refusals) {
    it(`refuses \`${args.join(" ")}\` in one sentence`, async () => {
      const { code, stderr } = await desk.cli(args);
      assert.equal(code, 2);
      assert.match(stderr, told);
      assert.equal(stderr.trimEnd().split("\n").length, 1);
    });
  }

  it("tells wrong usage as a document when asked for JSON", async () => {
    const { code, document, stderr } = await desk.json(["run", "--nope"]);
    assert.equal(code, 2);
    assert.deepEqual(document, {
      error: {
        code: "config-invalid",
        message: "unknown option '--nope'",
        exitCode: 2,
        remedy: "fix-config",
      },
    });
    assert.match(stderr, /unknown option/);
  });

  it("takes the common options before the verb too", async () => {
    const { code, stdout } = await desk.cli(["--json", "schema"]);
    assert.equal(code, 0);
    assert.equal(JSON.parse(stdout).title, "spillway pipeline");
  });
});
