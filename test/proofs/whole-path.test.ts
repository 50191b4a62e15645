/** The whole path for real: PostgreSQL, a worker pool, a real S3 store, a real OTLP receiver; then back again. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import aws4 from "aws4";
import { createTable, tableDigest } from "../../prove/oracle.ts";
import { definePipeline } from "../../src/pipeline/define.ts";
import { run } from "../../src/pipeline/run.ts";
import type { RunSummary } from "../../src/pipeline/summary.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { createKey } from "../fixtures/keys.ts";
import { type OtlpReceiver, startOtlpReceiver } from "../servers/otlp-receiver.ts";
import { ownPostgres } from "../servers/postgres.ts";
import { type Rgw, rgwInstalled, startRgw } from "../servers/rgw.ts";
import type { RunningPostgres } from "../../src/cli/demo-postgres.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("the whole path, to a real S3 store and a real OTLP receiver", () => {
  let folder = "";
  let server: RunningPostgres;
  let rgw: Rgw;
  let receiver: OtlpReceiver;
  let key: Awaited<ReturnType<typeof createKey>>;
  let summary: RunSummary;
  let state: string | undefined;

  before(async function () {
    if (!rgwInstalled()) {
      console.log("      (Ceph RGW is not installed: apt-get install radosgw ceph-mon ceph-osd)");
      this.skip();
    }
    this.timeout(120_000);
    folder = await mkdtemp(join(tmpdir(), "spillway-path-"));
    state = process.env["XDG_STATE_HOME"];
    process.env["XDG_STATE_HOME"] = folder;
    [server, rgw, receiver, key] = await Promise.all([
      ownPostgres({}),
      startRgw(),
      startOtlpReceiver(),
      createKey(),
    ]);
    await s3("PUT", "/exports");
    await createTable(server.url, 20_000, 1);
    const pipeline = definePipeline({
      name: "kills",
      telemetry: { otlp: receiver.url },
      stages: [
        postgres({ url: server.url, query: "select * from kills order by id" }),
        serialize("ndjson"),
        chunk("256KiB"),
        compress("zstd"),
        encrypt({ to: key.recipient }),
        spool(join(folder, "spool")),
        upload({ to: "s3://exports/nightly", ...s3Options() }),
      ],
    });
    summary = await run(pipeline, { env: { ...process.env, TRACEPARENT: traceparent } });
  });

  after(async () => {
    if (state === undefined) delete process.env["XDG_STATE_HOME"];
    else process.env["XDG_STATE_HOME"] = state;
    await Promise.all([server?.stop(), rgw?.stop(), receiver?.close()]);
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const s3Options = () => ({
    endpoint: rgw.endpoint,
    accessKeyId: rgw.accessKeyId,
    secretAccessKey: rgw.secretAccessKey,
  });

  /** A signed request that is not ours: another client's view of the store. */
  const s3 = (method: string, path: string): Promise<Record<string, unknown>> => {
    const { hostname, port } = new URL(rgw.endpoint);
    const signed = aws4.sign(
      { service: "s3", region: "us-east-1", method, path, host: `${hostname}:${port}` },
      { accessKeyId: rgw.accessKeyId, secretAccessKey: rgw.secretAccessKey },
    );
    return new Promise((resolve, reject) => {
      request({ ...signed, hostname, port } as object, (response) => {
        response
          .resume()
          .on("end", () => resolve({ status: response.statusCode, ...response.headers }));
      })
        .on("error", reject)
        .end();
    });
  };

  it("commits every row, and says so in the summary's own words", () => {
    assert.equal(summary.state, "committed");
    assert.equal(summary.rows, 20_000);
    assert.equal(summary.consistency, "snapshot");
    assert.equal(summary.resumedFrom, null);
    assert.ok(summary.pages > 5);
    assert.ok(summary.bytesOut < summary.bytesIn);
    assert.equal(summary.manifest, `${summary.destination}/manifest.json`);
    assert.deepEqual(
      summary.stages.map(({ name }) => name),
      ["postgres", "chunk", "seal", "spool", "upload"],
    );
    assert.ok(summary.stages.some(({ name }) => name === summary.bottleneck));
  });

  it("is verified in full from the store, signer pinned", async () => {
    const report = await verifyExport(summary.destination, {
      level: "full",
      identity: key.identity,
      signer: summary.signer,
      s3: s3Options(),
    });
    assert.deepEqual(report.problems, []);
    assert.equal(report.pinned, true);
    assert.equal(report.records, 20_000);
  });

  it("restores to what the server itself prints of its rows", async () => {
    const hash = createHash("sha256");
    const to = new Writable({
      write(bytes: Buffer, _encoding, done) {
        hash.update(bytes);
        done();
      },
    });
    await restoreExport(summary.destination, { to, identity: key.identity, s3: s3Options() });
    assert.equal(hash.digest("hex"), await tableDigest(server.url));
  });

  it("is one trace below the caller's: a page's span holds its seal, spool and upload", () => {
    const { spans } = receiver;
    const named = (name: string) => spans.filter((span) => span.name === name);
    const [root] = named("export kills");
    assert.equal(root?.traceId, traceparent.split("-")[1]);
    assert.equal(root?.parentSpanId, traceparent.split("-")[2]);
    assert.equal(summary.traceId, root?.traceId);
    const pages = named("page");
    assert.equal(pages.length, summary.pages);
    for (const page of pages) {
      assert.equal(page.parentSpanId, root?.spanId);
      const children = spans.filter(({ parentSpanId }) => parentSpanId === page.spanId);
      assert.deepEqual(children.map(({ name }) => name).toSorted(), ["seal", "spool", "upload"]);
      for (const { startNanos, endNanos } of children)
        assert.ok(startNanos <= endNanos && endNanos <= page.endNanos);
    }
    for (const { name } of summary.stages) assert.equal(named(`stage ${name}`).length, 1);
  });

  it("leaves the trace beside each page in the store", async () => {
    const path = new URL(summary.destination).pathname.slice(1);
    const { "x-amz-meta-traceparent": stored } = await s3(
      "HEAD",
      `/exports/${path}/00000000.ndjson.zst.age`,
    );
    assert.match(String(stored), new RegExp(`^00-${summary.traceId}-[0-9a-f]{16}-01$`));
  });

  it("tells its memory in metrics, the lease given back at the end", () => {
    for (const name of ["process.memory.usage", "spillway.lease.in_use", "spillway.spool.used"]) {
      assert.ok(
        receiver.metric(name),
        `${name} arrived; there are ${[...new Set(receiver.metrics.map((m) => m.name))].join(", ")}`,
      );
    }
    assert.equal(receiver.metric("spillway.lease.in_use")?.points[0]?.value, 0);
  });
});
