import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { listExports } from "../../src/readback/list-exports.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { createKey } from "../fixtures/keys.ts";
import { makeExport, ndjsonPages } from "../fixtures/make-export.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

const plain = (records: number, perPage: number) =>
  Buffer.from(
    ndjsonPages(records, perPage)
      .map(({ content }) => content)
      .join(""),
  );

/** A stream that keeps what it is given, slowly. */
function slowCollector(parts: Buffer[]): Writable {
  return new Writable({
    highWaterMark: 1,
    write(part: Buffer, _encoding, done) {
      parts.push(Buffer.from(part));
      setImmediate(done);
    },
  });
}

/** One line an export. */
async function list(url: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const it of listExports(url)) {
    lines.push(
      [it.folder, it.pipeline, it.run, it.state, it.pages, it.records, it.finished].join(" "),
    );
  }
  return lines;
}

describe("restore", () => {
  let root: string;
  let target: string;
  let identity: string;
  let recipient: string;
  before(async () => {
    ({ identity, recipient } = await createKey());
  });
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "spillway-restore-"));
    target = join(root, "target");
  });
  afterEach(() => rm(root, { recursive: true }));

  const make = (options = {}) =>
    makeExport(join(root, "out"), ndjsonPages(300, 100), {
      encrypt: { to: [recipient] },
      ...options,
    });

  it("writes one file that only the user can read, byte for byte", async () => {
    const { folder, signer } = await make();
    const progress: number[] = [];
    const summary = await restoreExport(folder, {
      to: target,
      identity,
      signer,
      onProgress: ({ pages }) => progress.push(pages),
    });
    const file = join(target, "observations.ndjson");
    assert.deepEqual(await readFile(file), plain(300, 100));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(target), ["observations.ndjson"]);
    assert.deepEqual(progress, [1, 2, 3]);
    assert.deepEqual(summary, {
      run: "20260102T030405678Z-1f2e3d4c",
      pipeline: "observations",
      pages: 3,
      records: 300,
      bytes: plain(300, 100).length,
      file,
      signer,
      pinned: true,
    });
  });

  it("writes to a stream as fast as the stream takes it, and leaves it open", async () => {
    const { folder } = await make();
    const parts: Buffer[] = [];
    const stream = slowCollector(parts);
    const summary = await restoreExport(folder, { to: stream, identity });
    assert.deepEqual(Buffer.concat(parts), plain(300, 100));
    assert.equal(summary.file, null);
    assert.equal(stream.writableEnded, false);
  });

  it("never overwrites a file, nor follows a link in its place", async () => {
    const { folder } = await make();
    await restoreExport(folder, { to: target, identity });
    await assert.rejects(
      restoreExport(folder, { to: target, identity }),
      failsWith("config-invalid"),
    );
    const file = join(target, "observations.ndjson");
    await rm(file);
    await symlink(join(root, "elsewhere"), file);
    await assert.rejects(
      restoreExport(folder, { to: target, identity }),
      failsWith("config-invalid"),
    );
    await assert.rejects(stat(join(root, "elsewhere")));
  });

  it("leaves nothing behind when a page is damaged, missing or locked", async () => {
    const { folder, names } = await make();
    const attempt = (who: string) => restoreExport(folder, { to: target, identity: who });
    await assert.rejects(attempt((await createKey()).identity), failsWith("key-wrong"));
    const last = join(folder, names[2]!);
    const bytes = await readFile(last);
    bytes[5]! ^= 1;
    await writeFile(last, bytes);
    await assert.rejects(attempt(identity), failsWith("integrity-failed"));
    await rm(last);
    await assert.rejects(attempt(identity), /is missing/);
    assert.deepEqual(await readdir(target), []);
  });

  it("gives a stream nothing of a damaged page", async () => {
    const { folder, names } = await make();
    const second = join(folder, names[1]!);
    const bytes = await readFile(second);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(second, bytes);
    const parts: Buffer[] = [];
    const attempt = restoreExport(folder, { to: slowCollector(parts), identity });
    await assert.rejects(attempt, failsWith("integrity-failed"));
    assert.deepEqual(
      Buffer.concat(parts),
      plain(300, 100).subarray(0, Buffer.concat(parts).length),
    );
    assert.ok(Buffer.concat(parts).length <= Buffer.byteLength(ndjsonPages(300, 100)[0]!.content));
  });

  it("says destination-failed when the target cannot be written", async () => {
    const { folder } = await make();
    await writeFile(target, "a file, not a folder");
    await assert.rejects(
      restoreExport(folder, { to: target, identity }),
      failsWith("destination-failed"),
    );
    const closed = new Writable({
      write: (_part, _encoding, done) => done(Object.assign(new Error("gone"), { code: "EPIPE" })),
    });
    await assert.rejects(
      restoreExport(folder, { to: closed, identity }),
      failsWith("destination-failed"),
    );
  });

  it("writes nothing outside the target for a manifest with hostile names", async () => {
    const hostile = [
      { pipeline: "../../evil" },
      { layers: { extension: "../x", compress: "zstd", encrypt: "age" } },
    ];
    for (const changeHead of hostile) {
      const { folder } = await make({ changeHead, run: `r${hostile.indexOf(changeHead)}` });
      const attempt = restoreExport(folder, { to: target, identity });
      await assert.rejects(attempt, failsWith("integrity-failed"));
    }
    assert.deepEqual(await readdir(root), ["out"]);
  });
});

describe("list exports", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "spillway-list-"));
  });
  afterEach(() => rm(root, { recursive: true }));

  it("tells complete, incomplete and damaged runs apart, at every level of the URL", async () => {
    const pages = ndjsonPages(30, 10);
    const first = await makeExport(root, pages, { run: "r1" });
    await makeExport(root, pages, { run: "r2", unfinished: true });
    const third = await makeExport(root, pages, { run: "r3", pipeline: "patients" });
    await writeFile(join(third.folder, "manifest.json"), "{}");
    await writeFile(join(root, "notes.txt"), "not an export");
    const time = "2026-01-02T03:04:06.789Z";
    assert.deepEqual(await list(root), [
      `observations/r1 observations r1 complete 3 30 ${time}`,
      "observations/r2 observations r2 incomplete 3  ",
      "patients/r3 patients r3 damaged 3  ",
    ]);
    assert.deepEqual(await list(join(root, "observations")), [
      `r1 observations r1 complete 3 30 ${time}`,
      "r2  r2 incomplete 3  ",
    ]);
    assert.deepEqual(await list(first.folder), [` observations r1 complete 3 30 ${time}`]);
    assert.deepEqual(await list(join(root, "nowhere")), []);
  });
});
