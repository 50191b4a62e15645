/** `spillway doctor` as people and machines call it. */
import assert from "node:assert/strict";
import { chmod, mkdir, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { takeLock } from "../../src/stages/pages/spool-lock.ts";
import { startScriptedS3, type ScriptedS3 } from "../servers/scripted-s3.ts";
import { openDesk, pipelineText, rowsText, type Desk } from "./spawn-cli.ts";

interface Check {
  readonly area: string;
  readonly level: string;
  readonly check: string;
  readonly found: string;
  readonly advice?: string;
  readonly code?: string;
}

const secret = "canary-secret-4711";

describe("doctor", () => {
  let desk: Desk;
  let server: ScriptedS3;
  let env: Record<string, string>;

  beforeEach(async () => {
    desk = await openDesk();
    server = await startScriptedS3("bucket");
    env = {
      AWS_ACCESS_KEY_ID: "somebody",
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_ENDPOINT_URL: server.endpoint,
    };
    await desk.write("rows.ndjson", rowsText(100));
  });
  afterEach(async () => {
    await desk.remove();
    await server.stop();
  });

  const write = (text: string) => desk.write("export.yaml", text);
  const toS3 = pipelineText().replace("upload: ./out", "upload: s3://bucket/deep");
  const examine = async (more: Record<string, string> = {}) => {
    const { code, document, stdout, stderr } = await desk.json(["doctor", "export.yaml"], {
      ...env,
      ...more,
    });
    assert.ok(!`${stdout}${stderr}`.includes(secret));
    const checks = document.checks as Check[];
    const find = (area: string, check: string) =>
      checks.find((one) => one.area === area && one.check === check);
    const failures = checks.filter(({ level }) => level === "fail");
    return { code, document, checks, find, failures };
  };

  it("says area by area what it found, and what follows", async () => {
    await write(toS3);
    server.conditions = "ignore";
    const { code, stdout, stderr } = await desk.cli(["doctor", "export.yaml"], env);
    assert.equal(code, 0, stdout);
    assert.equal(stderr, "");
    const areas = "config machine spool source destination encryption signature telemetry";
    assert.equal(stdout.match(/^\w+$/gm)?.join(" "), areas);
    assert.match(stdout, /^ {2}ok {4}pipeline {2,}rows: ndjson → serialize → chunk → seal/m);
    assert.match(
      stdout,
      /^ {2}warn {2}no overwriting +the store ignores `If-None-Match: \*`\n +→ /m,
    );
    assert.match(stdout, /\n\n\d warnings; nothing fails\n$/);
  });

  it("leaves no trace: no folder, no key, no object", async () => {
    await write(toS3);
    assert.equal((await examine()).code, 0);
    assert.deepEqual((await readdir(desk.folder)).toSorted(), ["export.yaml", "rows.ndjson"]);
    assert.deepEqual([...server.objects.keys()], []);
  });

  it("is as quiet as asked", async () => {
    await write(toS3);
    const { stdout } = await desk.cli(["doctor", "export.yaml", "--quiet"], env);
    assert.doesNotMatch(stdout, /^ {2}ok/m);
    assert.match(stdout, /^ {2}warn/m);
  });

  it("tells what is wrong in the file as check does", async () => {
    await write(pipelineText().replace("chunk: 4KiB", "chunk: { sise: 4KiB }"));
    const { code, document, failures } = await examine();
    assert.deepEqual([code, document.ok, document.exitCode], [2, false, 2]);
    assert.match(failures[0]!.found, /^export\.yaml:6:\d+: .*sise/);
    assert.equal((await desk.cli(["doctor", "nowhere.yaml"])).code, 2);
  });

  it("ends with the exit code of the first failure's kind, and tells them all", async () => {
    await write(toS3);
    await rm(join(desk.folder, "rows.ndjson"));
    await server.stop();
    const { code, failures } = await examine();
    assert.deepEqual(
      failures.map(({ area, code }) => [area, code]),
      [
        ["source", "input-missing"],
        ["destination", "destination-unreachable"],
      ],
    );
    assert.equal(code, 2);
    await desk.write("rows.ndjson", rowsText(1));
    assert.equal((await examine()).code, 5);
    await write(
      toS3.replace("ndjson: rows.ndjson", 'postgres: { url: "${env:PG}", query: select 1 }'),
    );
    const { code: sourceCode, find } = await examine({
      PG: `postgres://u:${secret}@127.0.0.1:1/x`,
    });
    assert.equal(sourceCode, 4);
    assert.equal(find("source", "server")?.code, "source-unreachable");
  });

  it("says when a run is under way, unfinished, or of other stages", async () => {
    await write(pipelineText());
    const blocked = await desk.cli(["run", "export.yaml"]);
    assert.equal(blocked.code, 0, blocked.stderr);
    assert.equal((await examine()).find("spool", "run")?.found, "none is under way");
    const lock = takeLock(join(desk.folder, "spool/rows/lock.db"), "rows");
    try {
      const { code, find } = await examine();
      assert.deepEqual([code, find("spool", "run")?.code], [7, "already-running"]);
    } finally {
      lock.release();
    }
    // A destination that takes nothing leaves a run with pages behind.
    await write(toS3);
    await server.stop();
    const stuck = desk.start(["run", "export.yaml"], env);
    await desk.until("spool/rows/pages");
    while ((await readdir(join(desk.folder, "spool/rows/pages"))).length === 0);
    stuck.child.kill("SIGKILL");
    await stuck.ended;
    assert.match((await examine()).find("spool", "run")!.found, /is unfinished/);
    await write(toS3.replace("s3://bucket/deep", "s3://bucket/other"));
    assert.equal((await examine()).find("spool", "run")?.code, "config-changed");
  });

  it("refuses a spool that others can open, and warns of one that does not fit its disk", async () => {
    await write(pipelineText().replace("./spool", "{ dir: ./spool, maxBytes: 8000TiB }"));
    assert.equal((await examine()).find("spool", "room")?.level, "warn");
    await mkdir(join(desk.folder, "spool/rows"), { recursive: true });
    await chmod(join(desk.folder, "spool/rows"), 0o755);
    const { code, find } = await examine();
    assert.deepEqual([code, find("spool", "rights")?.code], [2, "config-invalid"]);
    assert.deepEqual(await readdir(join(desk.folder, "spool/rows")), []);
  });

  it("seals a trial page, and finds the key that opens it", async () => {
    const { document } = await desk.json(["keygen", "--out", "key.txt"]);
    await write(pipelineText({ encrypt: `{ to: ${document.recipient} }` }));
    const beside = await examine();
    assert.equal(beside.find("encryption", "sealing")?.level, "ok");
    assert.match(beside.find("encryption", "keys")!.found, /^key\.txt opens the pages$/);
    await rm(join(desk.folder, "key.txt"));
    assert.equal((await examine()).find("encryption", "keys")?.level, "ok");
    await write(pipelineText({ encrypt: '{ passphrase: "${env:PHRASE}" }' }));
    const phrase = await examine({ PHRASE: `${secret}-long-enough` });
    assert.equal(phrase.find("encryption", "sealing")?.level, "ok");
    assert.equal(phrase.find("encryption", "keys")?.level, "warn");
    await write(pipelineText());
    assert.match((await examine()).find("encryption", "readers")!.found, /none/);
  });

  it("reads the signing key that is there, and refuses one that others can read", async () => {
    await write(pipelineText());
    assert.match((await examine()).find("signature", "key")!.found, /^none yet/);
    await desk.cli(["run", "export.yaml"]);
    assert.match((await examine()).find("signature", "key")!.found, /^ed25519:/);
    await chmod(join(desk.folder, "state/spillway/signing-key.pem"), 0o644);
    const { code, find } = await examine();
    assert.deepEqual([code, find("signature", "key")?.code], [2, "config-invalid"]);
  });

  it("asks the collector, and only warns, with what it got for an answer", async () => {
    await write(`${pipelineText()}telemetry: { otlp: "\${env:COLLECTOR}" }\n`);
    let status = 200;
    const collector = createServer((_, response) => response.writeHead(status).end("{}"));
    collector.listen(0, "127.0.0.1");
    await new Promise((resolve) => collector.once("listening", resolve));
    const { port } = collector.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    const asked = async () => {
      const { code, find } = await examine({ COLLECTOR: url });
      const { level, found } = find("telemetry", "collector")!;
      return [code, level, found];
    };
    assert.deepEqual(await asked(), [0, "ok", `${url} takes traces`]);
    status = 401;
    const refused = `${url} does not take traces (the collector answered 401; expected 200)`;
    assert.deepEqual(await asked(), [0, "warn", refused]);
    collector.closeAllConnections();
    await new Promise((resolve) => collector.close(resolve));
    assert.deepEqual(await asked(), [0, "warn", `${url} does not take traces (ECONNREFUSED)`]);
    await write(`${pipelineText()}telemetry: { sdk: node, otlp: "\${env:COLLECTOR}" }\n`);
    const { find } = await examine({ COLLECTOR: url, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" });
    assert.equal(find("telemetry", "collector")?.level, "ok", "what speaks HTTP is no proof");
  });

  it("takes back what it stored at Ctrl-C, and ends with 130", async () => {
    await write(toS3);
    let heard = () => {};
    const stored = new Promise<void>((resolve) => (heard = resolve));
    const held: (() => void)[] = [];
    server.faults.push(
      { on: "PUT", play: (call) => call.serve() },
      { on: "PUT", play: (call) => (held.push(() => call.serve()), heard()) },
    );
    const { child, ended } = desk.start(["doctor", "export.yaml"], env);
    await stored;
    assert.equal(server.objects.size, 1);
    child.kill("SIGINT");
    const { code, stderr } = await ended;
    assert.equal(code, 130);
    assert.match(stderr, /interrupted/);
    assert.equal(held.length, 1);
    assert.deepEqual([...server.objects.keys()], []);
  });

  it("shows no control characters of a name", async () => {
    await write(pipelineText().replace("rows.ndjson", '"rows\\u001b[2J.ndjson"'));
    const { stdout } = await desk.cli(["doctor", "export.yaml"]);
    assert.ok(!stdout.includes("\u001b"));
    assert.match(stdout, /rows\ufffd\[2J\.ndjson does not exist/);
  });
});
