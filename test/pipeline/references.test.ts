import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { findReferenceProblems, findReferences } from "../../src/pipeline/references.ts";
import { resolveReferences } from "../../src/pipeline/resolve-references.ts";
import { resolveSpec } from "../../src/pipeline/validate.ts";
import { PipelineError } from "../../src/errors.ts";
import { testRegistry } from "./stages-for-tests.ts";

const canary = "canary-51d0e";
const env = { USER_NAME: "ada", EMPTY: "", DOLLAR: "a${env:USER_NAME}b", SECRET: canary };

describe("references", () => {
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-references-"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const put = async (name: string, content: string | Uint8Array, mode = 0o600) => {
    await writeFile(join(folder, name), content);
    await chmod(join(folder, name), mode);
  };
  const resolve = <T>(value: T) => resolveReferences(value, { env, baseDir: folder });
  const refused = async (value: unknown): Promise<string> => {
    const error: unknown = await resolve(value).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof PipelineError);
    assert.equal(error.code, "config-invalid");
    assert.doesNotMatch(JSON.stringify(error) + error.message + error.stack, new RegExp(canary));
    return error.message;
  };

  it("give variables, whole and within a text, wherever a text stands", async () => {
    assert.deepEqual(
      await resolve({ a: ["${env:USER_NAME}", "s3://${env:USER_NAME}/x"], b: 1, c: null }),
      {
        a: ["ada", "s3://ada/x"],
        b: 1,
        c: null,
      },
    );
  });

  it("fall back where a variable is unset or empty", async () => {
    assert.deepEqual(
      await resolve([
        "${env:NONE:-x:-y}",
        "${env:EMPTY:-z}",
        "<${env:NONE:-}>",
        "${env:USER_NAME:-z}",
      ]),
      ["x:-y", "z", "<>", "ada"],
    );
  });

  it("leave the telemetry endpoint out when its variable is not set, as OpenTelemetry does", async () => {
    const spec = parsePipeline(
      'name: a\nstages: []\ntelemetry: { otlp: "${env:NONE}" }\n',
      "a.yaml",
    );
    const resolved = await resolveSpec(spec.spec, testRegistry, { env, baseDir: folder });
    assert.deepEqual(resolved.telemetry, {});
  });

  it("leave a setting out whose default is nothing, but never a secret or a stage", async () => {
    const reference = "${env:NONE:-}";
    assert.deepEqual(await resolve({ otlp: reference, sdk: "light" }), { sdk: "light" });
    assert.deepEqual(await resolve({ passphrase: reference }), { passphrase: "" });
    assert.deepEqual(await resolve({ stages: [{ seal: reference }] }), { stages: [{ seal: "" }] });
  });

  it("are written plainly with $${", async () => {
    assert.equal(await resolve("$${env:USER_NAME} $5 $$ $${"), "${env:USER_NAME} $5 $$ ${");
  });

  it("are not looked for in what they give", async () => {
    assert.equal(await resolve("${env:DOLLAR}"), "a${env:USER_NAME}b");
  });

  it("do not take names from Object.prototype", async () => {
    assert.match(await refused("${env:constructor}"), /variable constructor is not set/);
    const spec = JSON.parse('{ "__proto__": { "a": "${env:USER_NAME}" } }') as object;
    assert.deepEqual(Object.keys(await resolve(spec)), ["__proto__"]);
  });

  it("name the variable that is missing or empty", async () => {
    assert.equal(
      await refused({ source: { url: "${env:DATABASE_URL}" } }),
      "source.url: the environment variable DATABASE_URL is not set; set it or give a default: ${env:DATABASE_URL:-…}",
    );
    assert.match(await refused(["${env:EMPTY}"]), /EMPTY is empty/);
  });

  it("name every one that is missing, at its line", async () => {
    const text = "name: x\nstages:\n  - source:\n      url: ${env:ONE}\n      query: ${env:TWO}\n";
    const { spec, locate, baseDir } = parsePipeline(text, "x.yaml");
    await assert.rejects(
      resolveSpec(spec, testRegistry, { env, baseDir, locate }),
      ({ message }: Error) =>
        /^x\.yaml:4:12: stages\[0\]\.source\.url: .* ONE .*\nx\.yaml:5:14: .* TWO /.test(message),
    );
  });

  it("are told with all else that is wrong, each once and in the order of the file", async () => {
    const text =
      "name: x\nstages:\n  - source:\n      url: ${env:ONE}\n      query: ${foo}\n  - nothing\n";
    const { spec, locate, baseDir } = parsePipeline(text, "x.yaml");
    const refusal = await resolveSpec(spec, testRegistry, { env, baseDir, locate }).then(
      () => assert.fail("it is refused"),
      ({ message }: Error) => message.split("\n"),
    );
    const places = refusal.map((line) => line.replace(/^x\.yaml:(\d+:\d+).*$/, "$1"));
    assert.deepEqual(places, ["4:12", "5:14", "6:5"]);
  });

  it("of an unknown kind are refused with the kinds there are", async () => {
    for (const text of [
      "${foo}",
      "${ENV:A}",
      "${env:}",
      "${env:a-b}",
      "${env:1A}",
      "${}",
      "${file:}",
      "a ${env:A",
    ])
      assert.match(
        await refused({ text }),
        /^text: .*\$\{env:NAME:-default\} and \$\{file:path\}/,
        text,
      );
  });

  it("that are opened many times and never closed are found as quickly as they are many", () => {
    const { length } = findReferenceProblems({ a: "${".repeat(200_000) });
    assert.equal(length, 200_000);
  });

  it("that hold a secret by mistake are not repeated", async () => {
    await refused({ url: `\${${canary}}` });
    await refused({ url: "${env:SECRET} ${env:NONE}", other: "${env:SECRET}${oops}" });
  });

  it("give files: byte order mark and one line end removed, the rest kept", async () => {
    await put("a.pem", "\uFEFF-----BEGIN-----\r\nabc\n\n");
    await put("b.txt", "x\r\n", 0o644);
    assert.equal(await resolve("${file:a.pem}"), "-----BEGIN-----\r\nabc\n");
    assert.equal(await resolve("<${file:./b.txt}>"), "<x>");
    assert.equal(await resolve(`\${file:${join(folder, "b.txt")}}`), "x");
  });

  it("name files without the control characters in their names", async () => {
    const message = await refused("${file:a\r\u001b[2J\u009b.pem}");
    assert.match(message, /no file "a\\r\\u001b\[2J\\u009b\.pem" \(.*\/a\\r\\u001b/);
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f]/);
  });

  it("refuse files that are missing, empty, binary, huge or no files", async () => {
    await put("empty", "\n");
    await put("binary", Uint8Array.of(0xff, 0xfe, 0));
    await put("huge", Buffer.alloc(2 ** 20 + 1, "a"));
    assert.match(await refused("${file:none}"), /^there is no file "none"/);
    assert.match(await refused("${file:empty}"), /"empty" is empty/);
    assert.match(await refused("${file:binary}"), /"binary" is not UTF-8/);
    assert.match(await refused("${file:huge}"), /"huge" is larger than 1 MiB/);
    assert.match(await refused("${file:.}"), /"\." is not a file/);
    assert.match(await refused("${file:empty/x}"), /cannot be read \(ENOTDIR\)/);
  });

  it("refuse a secret in a file that others can read, and say what to run", async () => {
    await put("key", canary, 0o640);
    for (const name of ["sign", "passphrase", "identity"])
      assert.match(
        await refused({ [name]: "${file:key}" }),
        /others can read; run: chmod 600 "?\/.*key"?$/,
      );
    assert.match(await refused({ identity: ["${file:key}"] }), /chmod 600/);
    const spec = { name: "x", stages: [{ seal: { token: "${file:key}" } }] };
    const options = { env, baseDir: folder };
    await assert.rejects(
      resolveSpec(spec, testRegistry, options),
      /stages\[0\]\.seal\.token: .*chmod 600/,
    );
    await chmod(join(folder, "key"), 0o400);
    assert.deepEqual((await resolveSpec(spec, testRegistry, options)).stages, [
      { seal: { token: canary } },
    ]);
  });

  it("are listed for `check`, in the order of the file", () => {
    assert.deepEqual(
      findReferences({ a: "${env:X}", b: ["${file:k} ${env:Y:-d}", "$${env:Z}", "${bad}"] }),
      [
        { kind: "env", name: "X", path: ["a"] },
        { kind: "file", name: "k", path: ["b", 0] },
        { kind: "env", name: "Y", fallback: "d", path: ["b", 0] },
      ],
    );
  });

  it("leave every value without ${ as it is", async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        fc.pre(!JSON.stringify(value).includes("${"));
        assert.deepEqual(await resolve(value), value);
      }),
    );
  });
});
