import assert from "node:assert/strict";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { PipelineError } from "../../src/errors.ts";

const secret = "canary-7f3e9a51";
const key = "age1yeznxjjp7n4hz27d4gkwad7wrdulpfxm64f62ac5nc07npm84cgq3tzux6";

interface Parts {
  readonly url?: string;
  readonly encrypt?: string;
  readonly upload?: string;
  readonly more?: string;
}

const yaml = ({ url = "postgres://me@db/x", encrypt, upload = "to: ./out", more }: Parts) =>
  [
    "name: x",
    "memory: 256MiB",
    "stages:",
    `  - postgres: { query: select 1, url: "${url}" }`,
    "  - serialize: ndjson",
    "  - chunk: 1MiB",
    "  - compress: zstd",
    `  - encrypt: { ${encrypt ?? `to: ${key}`} }`,
    "  - spool: ./spool",
    `  - upload: { ${upload} }`,
    more ?? "",
  ].join("\n");

const plan = async (parts: Parts) =>
  planPipeline(parsePipeline(yaml(parts), "x.yaml"), { resolve: "none", env: {} });

const refusal = async (parts: Parts): Promise<string> => {
  const error: unknown = await plan(parts).catch((reason: unknown) => reason);
  assert.ok(error instanceof PipelineError, "expected a refusal");
  assert.equal(error.code, "config-invalid");
  assert.ok(!`${JSON.stringify(error)}${error.stack}`.includes(secret));
  return error.message;
};

describe("a secret that stands in a file", () => {
  it("is refused at its place, with what to write instead", async () => {
    assert.equal(
      await refusal({ url: `postgres://me:${secret}@db/x` }),
      "x.yaml:4:39: stages[0].postgres.url: a password stands in the file; expected the whole address or " +
        "the password as a reference, such as ${env:DATABASE_URL} or postgres://user:${env:PGPASSWORD}@host/database",
    );
    assert.equal(
      await refusal({ upload: `to: "s3://bucket", secretAccessKey: ${secret}` }),
      "x.yaml:10:51: stages[6].upload.secretAccessKey: a secret stands in the file; expected a reference such as " +
        "${env:SECRET_ACCESS_KEY} or ${file:./secrets/secretAccessKey}",
    );
  });

  it("is refused wherever a secret belongs", async () => {
    for (const parts of [
      { url: `postgres://me@db/x?password=${secret}` },
      { url: `postgres://me@db/x?sslpassword=${secret}&sslmode=disable` },
      { url: `postgres://me:${secret}/@x@db/x` },
      { encrypt: `passphrase: ${secret}` },
      { upload: `to: "s3://bucket", sessionToken: ${secret}` },
      { upload: `to: "s3://bucket", endpoint: "https://me:${secret}@store"` },
      { more: `sign: ${secret}` },
      { more: `telemetry: { otlp: "https://me:${secret}@collector" }` },
      { more: `telemetry: { otlp: "https://collector?api_key=${secret}" }` },
    ])
      assert.match(await refusal(parts), /^x\.yaml:\d+:\d+: .* stands in the file; expected /);
  });

  it("is refused as the default or the rest of a reference", async () => {
    for (const parts of [
      { url: `\${env:DATABASE_URL:-postgres://me:${secret}@db/x}` },
      { url: `postgres://me:${secret}\${env:REST}@db/x` },
      { encrypt: `passphrase: "\${env:PASS:-${secret}}"` },
      { encrypt: `passphrase: "${secret}\${env:PASS}"` },
    ])
      assert.match(await refusal(parts), / stands in the file; expected /);
  });

  it("is accepted by reference, and so are addresses without one", async () => {
    for (const parts of [
      {},
      { url: "postgres://db:5432/x?sslmode=disable&application_name=a" },
      { url: "${env:DATABASE_URL:-postgres://me@db/x}" },
      { url: "postgres://me:${env:PGPASSWORD}@db/x" },
      { url: "postgres://me:${file:./password}@db/x" },
      { encrypt: 'passphrase: "${env:PASS}"' },
      {
        upload:
          'to: "s3://bucket", secretAccessKey: "${file:./key}", endpoint: "https://store:9000"',
      },
      { more: 'sign: "${file:./signing-key.pem}"' },
      { more: 'telemetry: { otlp: "http://127.0.0.1:4318/path@x" }' },
    ])
      await plan(parts);
  });

  it("is no matter in code, where it is a value like any other", async () => {
    const { locate: _locate, ...pipeline } = parsePipeline(
      yaml({ url: `postgres://me:${secret}@db/x` }),
      "x.yaml",
    );
    await planPipeline(pipeline, { resolve: "none", env: {} });
  });
});
