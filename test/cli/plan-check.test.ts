import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pipelineJsonSchema } from "../../src/pipeline/json-schema.ts";
import { registry } from "../../src/stages/registry.ts";
import { openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

const withSecret = `name: secret
stages:
  - postgres: { url: "\${env:NO_SUCH_URL}", query: select 1 }
  - serialize: ndjson
  - chunk: 1MiB
  - compress: zstd
  - encrypt: { passphrase: "\${file:no-such-file}" }
  - spool: ./spool
  - upload: s3://bucket/prefix
memory: 256MiB
`;

describe("plan, check and schema", () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await desk.write("good.yaml", pipelineText());
    await desk.write("secret.yaml", withSecret);
    await desk.write("bad.yaml", pipelineText().replace("chunk: 4KiB", "chunk: { sise: 4KiB }"));
    await desk.write("small.yaml", pipelineText({ memory: "40MiB" }));
  });
  after(() => desk.remove());

  it("plan reads a sample where it is asked to, and shows what each row stage keeps", async () => {
    await desk.write("rows.ndjson", rowsText(200));
    const stages = ["filter: { column: id, in: [1, 2, 3] }"];
    const name = await desk.write("filters.yaml", pipelineText({ stages }));
    const { code, stdout } = await desk.cli(["plan", name, "--sample", "50"]);
    assert.equal(code, 0);
    assert.match(
      stdout,
      /Of the first 50 rows\n +Stage +Read +Kept +Where\n +filter +50 +3 +6.0 % +in JavaScript/,
    );
    const { document } = await desk.json(["plan", name, "--sample", "50", "--json"]);
    assert.equal(document.sample.stages[0].rowsOut, 3);
    assert.equal((await desk.json(["plan", name, "--json"])).document.sample, undefined);
  });

  it("scale shows how the time of each stage grows, and leaves nothing behind", async () => {
    await desk.write("rows.ndjson", rowsText(200));
    const name = await desk.write("grows.yaml", pipelineText({ name: "grows" }));
    const { code, stdout } = await desk.cli(["scale", name, "--most", "1000"]);
    assert.equal(code, 0);
    assert.match(stdout, /Stage +10 rows +100 rows +200 rows/);
    assert.match(stdout, /ndjson +[\d.]+ ms +[\d.]+ ms/);
    assert.match(stdout, /Too little work to tell|No stage grows faster than the rows/);
    const few = await desk.cli(["scale", name, "--most", "5"]);
    assert.equal(few.code, 2);
    assert.match(few.stderr, /--most 5 shows nothing of growth; expected at least 1000 rows/);
    assert(!existsSync(join(desk.folder, "spool", "grows")));
    assert(!existsSync(join(desk.folder, "state", "spillway")), "no signing key was made");
  });

  it("plan shows stages, the memory ledger with its lease, and what was done", async () => {
    const { code, stdout, stderr } = await desk.cli(["plan", "good.yaml"]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.match(stdout, /^rows in 128 MiB of memory, pages of 4 KiB\n/);
    assert.match(stdout, /ndjson +nothing → /);
    assert.match(stdout, /seal +pages → sealed .* compress \+ encrypt/);
    assert.match(stdout, /runtime +[\d.]+ MiB +[█▏▎▍▌▋▊▉]/);
    assert.match(stdout, /lease +[\d.]+ [KM]iB +4 pages of 4 KiB/);
  });

  it("plan needs no variable, no file and no server, and makes nothing", async () => {
    const { code, document } = await desk.json(["plan", "secret.yaml"]);
    assert.equal(code, 0);
    assert.equal(document.name, "secret");
    assert.equal(document.memoryBytes, 256 * 2 ** 20);
    assert.ok(document.leaseBytes > 0);
    assert.equal(document.stages.at(-1).name, "upload");
    assert.equal(existsSync(join(desk.folder, "spool")), false);
    assert.equal(existsSync(join(desk.folder, "state")), false);
  });

  it("plan refuses what does not fit its memory and names the knob", async () => {
    const { code, stderr } = await desk.cli(["plan", "small.yaml"]);
    assert.equal(code, 2);
    assert.match(stderr, /40 MiB is too little.*raise `memory`/);
  });

  it("plan shows a pushed query without its values", async () => {
    const query =
      "select id, 'Ada''s' as \"n'1\", E'a\\'b', $t$12$t$ from t2 where nr = 4711 and x = $1 -- Ada\n/* Ada */ order by id";
    await desk.write(
      "pushed.yaml",
      withSecret.replace(
        "query: select 1 }",
        `query: ${JSON.stringify(query)}, params: [1] }\n  - select: [id]`,
      ),
    );
    const shown = `select id, … as "n'1", …, … from t2 where nr = … and x = $1 …\n… order by id`;
    const { document, stdout } = await desk.json(["plan", "pushed.yaml"]);
    assert.ok(document.pushed.before.startsWith(shown));
    assert.ok(document.pushed.after.includes(shown));
    const text = await desk.cli(["plan", "pushed.yaml"]);
    assert.doesNotMatch(stdout + text.stdout, /Ada|4711/);
  });

  it("check says ok", async () => {
    const { code, stdout } = await desk.cli(["check", "good.yaml"]);
    assert.equal(code, 0);
    assert.match(stdout, /^ok good\.yaml/);
    assert.deepEqual((await desk.json(["check", "good.yaml"])).document, { ok: true });
  });

  it("check names every variable and file that is missing, each at its place", async () => {
    const { code, document, stderr } = await desk.json(["check", "secret.yaml"]);
    assert.equal(code, 2);
    assert.equal(document.ok, false);
    const places = document.problems.map(({ file, line }: { file: string; line: number }) => [
      file,
      line,
    ]);
    assert.deepEqual(places, [
      ["secret.yaml", 3],
      ["secret.yaml", 7],
    ]);
    assert.match(document.problems[0].message, /NO_SUCH_URL is not set/);
    assert.match(document.problems[1].message, /no-such-file/);
    assert.equal(document.error.code, "config-invalid");
    assert.match(stderr, /^secret\.yaml:3:\d+: /);
  });

  it("a mistake in the file is told at its line and column, with a suggestion, and without a stack", async () => {
    for (const verb of ["run", "plan", "check"]) {
      const { code, stderr, stdout } = await desk.cli([verb, "bad.yaml"]);
      assert.equal(code, 2, verb);
      assert.equal(stdout, "");
      assert.match(stderr, /^bad\.yaml:6:\d+: stages\[2\]\.chunk\.?.*"?sise"?.*size/);
      assert.doesNotMatch(stderr, /\n\s+at /);
    }
  });

  it("--debug adds frames", async () => {
    const { stderr } = await desk.cli(["plan", "bad.yaml", "--debug"]);
    assert.match(stderr, /\n\s+at /);
  });

  it("a file that is not there is exit 2", async () => {
    const { code, document } = await desk.json(["run", "nowhere.yaml"]);
    assert.equal(code, 2);
    assert.equal(document.error.code, "input-missing");
  });

  it("schema prints what editors read, quiet or not", async () => {
    const { stdout } = await desk.cli(["schema", "--quiet"]);
    assert.deepEqual(JSON.parse(stdout), JSON.parse(JSON.stringify(pipelineJsonSchema(registry))));
  });
});
