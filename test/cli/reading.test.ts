import assert from "node:assert/strict";
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sealAge } from "../../src/workers/age.ts";
import { openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

describe("verify, restore, cat and ls", () => {
  let desk: Desk;
  let run: string;
  let signer: string;
  before(async () => {
    desk = await openDesk();
    await desk.write("rows.ndjson", rowsText(1000));
    const { document: key } = await desk.json(["keygen", "--out", "key.txt"]);
    await desk.cli(["keygen", "--out", "other.txt"]);
    await desk.write("sealed.yaml", pipelineText({ encrypt: `{ to: ${key.recipient} }` }));
    const { document } = await desk.json(["run", "sealed.yaml"]);
    run = document.destination;
    signer = document.signer;
  });
  after(() => desk.remove());

  it("verify proves every page with the key, and the signer when demanded", async () => {
    const args = ["verify", "out", "-i", "key.txt", "--signer", signer];
    const { code, document } = await desk.json(args);
    assert.equal(code, 0);
    assert.equal(document.ok, true);
    assert.equal(document.level, "full");
    assert.equal(document.records, 1000);
    assert.equal(document.pinned, true);
  });

  it("verify needs no key to compare bytes, and says that the signer was not compared", async () => {
    const { code, stdout } = await desk.cli(["verify", run]);
    assert.equal(code, 0);
    assert.match(stdout, /^✔ rows: 1,000 records, whole and unchanged/);
    assert.match(stdout, /not compared: give --signer/);
  });

  it("verify takes the signer from a file too, and refuses another one with 6", async () => {
    const { document } = await desk.json(["keygen", "--signing", "keys"]);
    const { code } = await desk.cli(["verify", run, "--signer", document.publicFile]);
    assert.equal(code, 6);
  });

  it("a wrong key is exit 6 and says what was expected", async () => {
    for (const args of [
      ["verify", "out", "-i", "other.txt"],
      ["cat", "out", "-i", "other.txt"],
      ["restore", "out", "--to", "wrong", "-i", "other.txt"],
    ]) {
      const { code, stderr, stdout } = await desk.cli(args);
      assert.equal(code, 6, args[0]);
      assert.equal(stdout, "");
      assert.match(stderr, /no identity or passphrase given opens/);
    }
  });

  it("an export that is not there is exit 5", async () => {
    for (const verb of ["verify", "cat", "ls"]) {
      const { code, document } = await desk.json([verb, "./keys-of-nobody"]);
      assert.equal(code, 5, verb);
      assert.equal(document.error.code, "not-found");
    }
  });

  it("a key file that is not there is exit 2", async () => {
    const { code, stderr } = await desk.cli(["cat", "out", "-i", "gone.txt"]);
    assert.equal(code, 2);
    assert.equal(stderr, "spillway: gone.txt: no such file; expected an age identity file\n");
  });

  it("a key file that others can read is exit 2, with what to run; one that is itself sealed is not", async () => {
    const keys = await readFile(join(desk.folder, "key.txt"), "utf8");
    const passphrase = "correct horse";
    const { sealed } = await sealAge(Buffer.from(keys), { passphrase });
    await writeFile(join(desk.folder, "open.txt"), keys, { mode: 0o644 });
    await writeFile(join(desk.folder, "sealed.age"), sealed, { mode: 0o644 });
    const { code, stderr } = await desk.cli(["cat", "out", "-i", "open.txt"]);
    assert.equal(code, 2);
    assert.equal(
      stderr,
      "spillway: open.txt holds a secret others can read; run: chmod 600 open.txt\n",
    );
    const opened = await desk.cli(["cat", "out", "-i", "sealed.age"], {
      SPILLWAY_PASSPHRASE: passphrase,
    });
    assert.equal(opened.code, 0, opened.stderr);
  });

  it("key files that are empty, marked, endless or no files are told apart", async () => {
    const keys = await readFile(join(desk.folder, "key.txt"), "utf8");
    const put = (name: string, text: string) =>
      writeFile(join(desk.folder, name), text, { mode: 0o600 });
    await put("empty.txt", "");
    await put("marked.txt", `\uFEFF${keys.trimEnd()}`);
    await put("huge.txt", "#".repeat(2 ** 20 + 1));
    const verify = async (name: string) => {
      const { code, stderr } = await desk.cli(["verify", "out", "-q", "-i", name]);
      return `${code} ${stderr.trim()}`;
    };
    assert.equal(await verify("marked.txt"), "0 ");
    assert.match(await verify("empty.txt"), /^2 .*expected one AGE-SECRET-KEY-1… a line/);
    assert.match(await verify("huge.txt"), /^2 .*huge\.txt is larger than 1 MiB/);
    assert.match(await verify("out"), /^2 .*out: cannot be read \(EISDIR\)/);
  });

  it("cat prints the records as they were, all or those of one page", async () => {
    const all = await desk.cli(["cat", "out", "-i", "key.txt"]);
    assert.equal(all.stdout, rowsText(1000));
    const second = await desk.cli(["cat", run, "-i", "key.txt", "--page", "1"]);
    assert.match(second.stdout, /^\{"id":\d+,"note":"row \d+"\}\n/);
    assert.ok(all.stdout.indexOf(second.stdout) > 0);
    const beyond = await desk.cli(["cat", run, "-i", "key.txt", "--page", "999"]);
    assert.equal(beyond.code, 5);
    assert.match(beyond.stderr, /has pages 0 to \d+/);
  });

  it("cat --json prints one array", async () => {
    const { document } = await desk.json(["cat", "out", "-i", "key.txt"]);
    assert.equal(document.length, 1000);
    assert.deepEqual(document[999], { id: 999, note: "row 999" });
  });

  it("ends quietly when nobody reads on", async () => {
    const started = desk.start(["cat", "out", "-i", "key.txt"]);
    started.child.stdout?.once("data", () => started.child.stdout?.destroy());
    const { code, stderr } = await started.ended;
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  });

  it("restore writes one private file, and never over it", async () => {
    const args = ["restore", "out", "--to", "restored", "-i", "key.txt"];
    const { code, document } = await desk.json(args);
    assert.equal(code, 0);
    assert.equal(document.records, 1000);
    const file = join(desk.folder, "restored", "rows.ndjson");
    assert.equal(await readFile(file, "utf8"), rowsText(1000));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await desk.cli(args)).code, 2);
  });

  it("restore names what one that was killed has left, and leaves it", async () => {
    const left = "left/.rows.ndjson.01234567-89ab-4cde-8f01-23456789abcd.partial";
    await desk.cli(["restore", "out", "--to", "left", "-i", "key.txt"]);
    await desk.write("left/.hidden.partial", "");
    await desk.write(left, "");
    await desk.cli(["restore", "out", "--to", "left", "-i", "key.txt"]).then(({ stderr }) => {
      assert.match(stderr, new RegExp(`${left} is of a restore that was killed`));
      assert.doesNotMatch(stderr, /hidden/);
    });
    assert.deepEqual((await readdir(join(desk.folder, "left"))).length, 3);
  });

  it("restore writes to standard output", async () => {
    const { stdout, code } = await desk.cli(["restore", "out", "--to", "-", "-i", "key.txt"]);
    assert.equal(code, 0);
    assert.equal(stdout, rowsText(1000));
  });

  it("restore --by writes a file for each value, and says what is in each", async () => {
    const [patient, other] = ['{"id":1.00,"type":"Patient"}\n', '{"id":2}\n'];
    await desk.write("types.ndjson", `${patient}${other}${patient}`);
    await desk.write(
      "types.yaml",
      pipelineText({ name: "types" }).replace("rows.ndjson", "types.ndjson"),
    );
    await desk.cli(["run", "types.yaml", "-q"]);
    const args = ["restore", "out/types", "--to", "apart", "--by", "type"];
    const { code, stdout } = await desk.cli(args);
    assert.equal(code, 0);
    assert.match(stdout, /^✔ 3 records, 67 B, in apart\/types\n/);
    assert.match(stdout, /\n {2}Patient\.ndjson {3}2 records {2}58 B\n {2}_missing\.ndjson /);
    const read = (name: string) => readFile(join(desk.folder, "apart/types", name), "utf8");
    assert.equal(await read("Patient.ndjson"), patient + patient);
    assert.equal(await read("_missing.ndjson"), other);
    const again = await desk.cli(args);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /apart\/types exists; move it away/);
  });

  it("ls lists runs without a key", async () => {
    const { stdout } = await desk.cli(["ls", "out"]);
    assert.match(stdout, /^Pipeline +Run +State/);
    assert.match(stdout, /\nrows +\S+ +complete +\d+ +1,000 /);
    const { document } = await desk.json(["ls", "out"]);
    assert.equal(document.exports[0].records, 1000);
  });

  it("takes a passphrase from a file or from the environment", async () => {
    const passphrase = "correct horse — größer";
    await writeFile(join(desk.folder, "passphrase"), `\uFEFF${passphrase}\n`, { mode: 0o600 });
    await desk.write(
      "phrase.yaml",
      pipelineText({
        name: "phrase",
        memory: "256MiB",
        encrypt: '{ passphrase: "${env:SECRET}" }',
      }).replace("4KiB", "1MiB"),
    );
    const made = await desk.cli(["run", "phrase.yaml", "-q"], { SECRET: passphrase });
    assert.equal(made.code, 0);
    const url = "out/phrase";
    const byFile = await desk.cli(["cat", url, "--passphrase-file", "passphrase"]);
    const byEnv = await desk.cli(["cat", url], { SPILLWAY_PASSPHRASE: passphrase });
    assert.equal(byFile.stdout, rowsText(1000));
    assert.equal(byEnv.stdout, rowsText(1000));
    const wrong = await desk.cli(["cat", url], { SPILLWAY_PASSPHRASE: "something else" });
    assert.equal(wrong.code, 6);
  });

  it("damage is exit 6: the object is named, and the document has both report and error", async () => {
    const folder = new URL(`${run}/`);
    const [page = ""] = (await readdir(folder)).filter((name) => name.endsWith(".age"));
    const path = new URL(page, folder);
    const bytes = await readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    const { code, document, stderr } = await desk.json(["verify", run]);
    assert.equal(code, 6);
    assert.equal(document.ok, false);
    assert.equal(document.problems[0].object, page);
    assert.equal(document.error.code, "integrity-failed");
    assert.match(stderr, /^spillway: the export is damaged: 1 problem, the first: 00000000/);
  });
});
