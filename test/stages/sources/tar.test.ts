import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readEntries } from "../../../src/stages/sources/tar-archive.ts";
import { tar } from "../../../src/stages/sources/tar.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { inPieces, nothing, refuses, rowsOf, tuplesOf } from "../../fixtures/sources.ts";

type Format = "ndjson" | "json" | "csv" | "content";

/** Reads an archive and gives its batches. */
const read = (path: string, format: Format, match?: string, maxRecord = 100_000) =>
  collect(tar.open({ path, format, match, maxRecord }, testContext(), nothing()));

/** The first entry's size, and what stands behind it, as these bytes say, with a checksum that is right. */
function withSize(archive: Buffer, size: Buffer): Buffer {
  const changed = Buffer.from(archive);
  size.copy(changed, 124);
  changed.fill(" ", 148, 156);
  const sum = changed.subarray(0, 512).reduce((all, byte) => all + byte, 0);
  changed.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return changed;
}

describe("tar", () => {
  let folder: string;
  const file = (name: string) => join(folder, name);
  const pack = (archive: string, ...args: string[]) =>
    execFileSync("tar", ["-cf", file(archive), "-C", file("in"), ...args]);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-tar-"));
    await mkdir(file("in/data"), { recursive: true });
    const lines = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, index) => `{"id":${from + index}}\n`).join("");
    await writeFile(file("in/data/a.ndjson"), lines(0, 15_000));
    await writeFile(file("in/data/b.ndjson"), lines(15_000, 30_000));
    await writeFile(file("in/data/c.json"), '[{"id":9007199254740993}]');
    await writeFile(file("in/data/empty.ndjson"), "");
    await writeFile(file("in/one.csv"), "id,x\n1,\n");
    await writeFile(file("in/two.csv"), 'id,x\n2,""\n');
    await writeFile(file("in/zeros"), Buffer.alloc(4096));
    await writeFile(file("in/bytes"), Buffer.from([0, 255, 10]), { mode: 0o640 });
    await symlink("bytes", file("in/link"));
    pack("many.tar", "data");
    pack("many.tar.gz", "-z", "data");
    pack("none.tar", "--files-from", "/dev/null");
    pack("dots.tar", "./data/c.json", "./one.csv", "./two.csv", "./link");
    pack("zeros.tar", "zeros");
    pack("mixed.tar", "bytes", "link", "data/empty.ndjson");
  });
  after(() => rm(folder, { recursive: true }));

  checkStageContract({
    stage: tar,
    config: () => ({ path: file("many.tar.gz"), format: "ndjson", match: "data/*.ndjson" }),
    required: ["path", "format"],
    wrong: { path: 7, format: "parquet", match: "", maxRecord: -1 },
    empty: {
      config: () => ({ path: file("none.tar"), format: "ndjson" }),
      check: ([only], error) => {
        assert.equal(error, undefined);
        assert.equal(only?.end?.rows, 0);
      },
    },
  });

  it("gives the rows of all matching files in archive order, plain and gzip alike", async () => {
    for (const archive of ["many.tar", "many.tar.gz"]) {
      const batches = await read(file(archive), "ndjson", "data/*.ndjson");
      const ids = rowsOf(batches).map((row) => Number(row["id"]));
      assert.equal(batches.at(-1)?.end?.rows, 30_000);
      assert.deepEqual(new Set(ids).size, 30_000);
      assert.equal(batches.at(-1)?.end?.consistency.class, "unchanged-file");
    }
  });

  it("reads JSON and CSV with the parsers of the file sources", async () => {
    const rows = rowsOf(await read(file("dots.tar"), "json", "data/*.json"));
    assert.equal(JSON.stringify(rows), '[{"id":9007199254740993}]');
    const tuples = tuplesOf(await read(file("dots.tar"), "csv", "*.csv"));
    assert.deepEqual(tuples, [
      ["1", null],
      ["2", ""],
    ]);
  });

  it("refuses CSV files whose headers differ, and says where broken rows are", async () => {
    await writeFile(file("in/three.csv"), "id,y\n3,4\n");
    await writeFile(file("in/broken.csv"), "id,x\n3,4\n5\n");
    pack("headers.tar", "one.csv", "three.csv");
    pack("broken.tar", "one.csv", "broken.csv");
    await refuses(read(file("headers.tar"), "csv"), /headers\.tar, entry 2: other columns/);
    await refuses(read(file("broken.tar"), "csv"), /broken\.tar, entry 2:3: the record has more/);
  });

  it("refuses a link where rows are due", () =>
    refuses(read(file("dots.tar"), "csv", "{*.csv,link}"), /entry 4: a symlink; expected files/));

  it("gives every entry as a row with its content", async () => {
    const rows = rowsOf(await read(file("mixed.tar"), "content"));
    const known = rows.map(({ mtime, ...row }) => (assert.ok(Date.parse(String(mtime))), row));
    assert.deepEqual(
      known.map(({ name, type, size, content, link }) => [name, type, size, content, link]),
      [
        ["bytes", "file", 3, "AP8K", null],
        ["link", "symlink", 0, null, "bytes"],
        ["data/empty.ndjson", "file", 0, "", null],
      ],
    );
    assert.equal(known[0]?.["mode"], "0640");
  });

  it("gives a time that only a pax record has room for, and refuses one that is none", async () => {
    pack("old.tar", "--format=posix", "--mtime=@-86399.5", "bytes");
    const [old] = rowsOf(await read(file("old.tar"), "content"));
    assert.equal(old?.["mtime"], "1969-12-31T00:00:00.500Z");
    pack("parts.tar", "--format=posix", "--mtime=@1084575740.985", "bytes");
    const [parts] = rowsOf(await read(file("parts.tar"), "content"));
    assert.equal(parts?.["mtime"], "2004-05-14T23:02:20.985Z");
    pack("empty.tar", "--format=posix", "--mtime=@7", "--pax-option=mtime:=", "bytes");
    const [empty] = rowsOf(await read(file("empty.tar"), "content"));
    assert.equal(empty?.["mtime"], "1970-01-01T00:00:07.000Z");
    pack("odd.tar", "--format=gnu", "bytes");
    const archive = await readFile(file("odd.tar"));
    const endless = Buffer.concat([
      archive.subarray(124, 136),
      Buffer.of(0x80, 1),
      Buffer.alloc(10),
    ]);
    await writeFile(file("odd.tar"), withSize(archive, endless));
    await refuses(read(file("odd.tar"), "content"), /odd\.tar, entry 1: a time of change that is/);
  });

  it("refuses an entry larger than maxRecord", () =>
    refuses(read(file("zeros.tar"), "content", undefined, 4095), /entry 1: larger than maxRecord/));

  it("notices an archive that is cut off anywhere, with zeros as data too", async () => {
    for (const [archive, sizes] of [
      ["many.tar", [0, 100, 512, 600, 100_000]],
      ["zeros.tar", [512, 1000, 3000, 4608, 4608 + 512]],
    ] as const) {
      for (const size of sizes) {
        const cut = file("cut.tar");
        execFileSync("cp", [file(archive), cut]);
        await truncate(cut, size);
        await refuses(read(cut, "content", undefined, 1e6), /cut\.tar.*cut off/);
      }
    }
  });

  it("notices an archive cut between two entries", async () => {
    const whole = execFileSync("tar", ["-cf", "-", "-C", file("in"), "bytes", "one.csv"]);
    const entries = async (length: number) => {
      for await (const entry of readEntries(inPieces(whole.subarray(0, length), 3), "in.tar")) {
        await collect(entry.bytes);
      }
    };
    await refuses(entries(1024), /in\.tar, after entry 1: cut off; expected the end marker/);
    await refuses(entries(2048), /in\.tar, after entry 2: cut off/);
    await refuses(entries(2048 + 512), /in\.tar, after entry 2: cut off/);
    await entries(2048 + 1024);
  });

  it("reads gzip strictly: whole, and nothing after it", async () => {
    const packed = gzipSync(execFileSync("tar", ["-cf", "-", "-C", file("in"), "bytes"]));
    const cases: [Buffer, RegExp][] = [
      [packed.subarray(0, packed.length - 5), /gzip is damaged or cut off/],
      [Buffer.concat([packed, Buffer.alloc(3)]), /more after the end of its gzip/],
      [Buffer.concat([packed, Buffer.from("more")]), /gzip is damaged or cut off/],
      [Buffer.from("secret ".repeat(200)), /no tar archive/],
      [Buffer.concat([packed.subarray(0, 40), Buffer.alloc(80, 7)]), /gzip is damaged/],
    ];
    for (const [bytes, message] of cases) {
      await writeFile(file("bad.tar"), bytes);
      await refuses(read(file("bad.tar"), "content"), message);
    }
    await writeFile(file("two.gz"), Buffer.concat([packed.subarray(0), gzipSync("")]));
    assert.equal(rowsOf(await read(file("two.gz"), "content")).length, 1);
  });

  it("refuses an entry whose size is no number, instead of waiting for its end", async () => {
    const archive = execFileSync("tar", ["-cf", "-", "-C", file("in"), "one.csv"]);
    for (const size of [Buffer.alloc(12, 0x90), Buffer.alloc(12, 0xc0)]) {
      await writeFile(file("size.tar"), withSize(archive, size));
      await refuses(read(file("size.tar"), "content"), /entry 1: a size that is no number/);
    }
  });

  it("passes by the size that old archives state for a folder, behind which nothing lies", async () => {
    const archive = execFileSync("tar", [
      "-cf",
      "-",
      "-C",
      file("in"),
      "--no-recursion",
      "data",
      "one.csv",
    ]);
    await writeFile(file("sized.tar"), withSize(archive, Buffer.from("00000020000 ")));
    await writeFile(file("plain.tar"), archive);
    const rows = async (name: string) => rowsOf(await read(file(name), "content"));
    assert.deepEqual(await rows("sized.tar"), await rows("plain.tar"));
  });

  it("refuses sparse files, whose content is not what it seems", async () => {
    execFileSync("truncate", ["-s", "1M", file("in/holes")]);
    for (const format of ["gnu", "posix"]) {
      pack("sparse.tar", "--sparse", `--format=${format}`, "holes");
      await refuses(read(file("sparse.tar"), "content"), /entry 1: a sparse file/);
    }
  });
});
