import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { restoreExport } from "../../src/readback/restore.ts";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { failFiles, failure } from "../fixtures/failing-files.ts";
import { makeExport, type MakeOptions, type PlainPage } from "../fixtures/make-export.ts";
import { mountSmallDisk } from "../fixtures/small-disk.ts";
import { needTools } from "../fixtures/stock-tools.ts";

const page = (...lines: readonly string[]): PlainPage => ({
  content: lines.map((line) => `${line}\n`).join(""),
  records: lines.length,
});

/** One record in pages of `perPage` bytes. */
function spanning(line: string, perPage: number): PlainPage[] {
  const bytes = Buffer.from(`${line}\n`);
  const pages: PlainPage[] = [];
  for (let at = 0; at < bytes.length; at += perPage) {
    const isLast = at + perPage >= bytes.length;
    const span = at === 0 ? "first" : isLast ? "last" : "middle";
    pages.push({ content: bytes.subarray(at, at + perPage), records: isLast ? 1 : 0, span });
  }
  return pages;
}

describe("restore to a file for each value of a member", () => {
  let root: string;
  let to: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "spillway-restore-files-"));
    to = join(root, "to");
  });
  afterEach(() => rm(root, { recursive: true }));

  const restore = async (pages: readonly PlainPage[], options?: MakeOptions, by = "type") => {
    const { folder } = await makeExport(join(root, "out"), pages, options);
    return restoreExport(folder, { to: { folder: to, by } });
  };
  const written = async (): Promise<Record<string, string>> => {
    const folder = join(to, "observations");
    const names = (await readdir(folder)).sort();
    return Object.fromEntries(
      await Promise.all(
        names.map(async (name) => [name, await readFile(join(folder, name), "utf8")]),
      ),
    );
  };
  /** Refused with these words, and nothing is left behind. */
  const refuses = async (code: ErrorCode, words: RegExp, attempt: Promise<unknown>) => {
    await assert.rejects(attempt, (error) => {
      assert.ok(error instanceof PipelineError);
      assert.equal(error.code, code);
      assert.match(error.message, words);
      return true;
    });
    assert.deepEqual(await readdir(to), []);
  };

  it("puts each record into the file of its value, byte for byte and in order", async () => {
    const [a, b, c, d, e] = [
      '{"type":"Patient","id":1.00}',
      '{"contained":[{"type":"Patient"}],"type":"Observation","value":1e3}',
      '{ "type" : "Patient","name":"Zo\\u00eb ë" }',
      '{"id":"none"}',
      '{"type":null}',
    ] as const;
    const summary = await restore([page(a, b, c), page(d, c, b, e), page(a)]);
    const expected = {
      "Observation.ndjson": [b, b],
      "Patient.ndjson": [a, c, c, a],
      "_missing.ndjson": [d, e],
    };
    const text = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");
    assert.deepEqual(
      await written(),
      Object.fromEntries(Object.entries(expected).map(([name, lines]) => [name, text(lines)])),
    );
    const folder = join(to, "observations");
    assert.equal(summary.file, folder);
    assert.equal(summary.records, 8);
    assert.deepEqual(
      summary.files,
      Object.entries(expected).map(([name, lines]) => ({
        file: join(folder, name),
        value: name.startsWith("_") ? null : name.replace(".ndjson", ""),
        records: lines.length,
        bytes: Buffer.byteLength(text(lines)),
      })),
    );
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.equal((await stat(join(folder, "Patient.ndjson"))).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(to), ["observations"]);
  });

  it("does what the documentation has stock tools do", async function () {
    needTools(this, "jq", "paste", "awk");
    const docs = await readFile(join(import.meta.dirname, "../../docs/fhir.md"), "utf8");
    const [, command = ""] = /^```sh\n(jq .*?)^```$/ms.exec(docs) ?? [];
    const lines = [
      '{"resourceType":"Patient","value":1.00,"big":12345678901234567890.50}',
      '{ "contained":[{"resourceType":"In"}],"text":"a\\tb\\\\","resourceType"\t:\t"Observation" }',
      '{"resourceType":null}',
      '{"resourceType":"Patient","text":"Zoë 😀"}',
    ];
    await restore([page(...lines)], {}, "resourceType");
    await writeFile(join(root, "clinic.ndjson"), lines.map((line) => `${line}\n`).join(""));
    execFileSync("sh", ["-c", command], { cwd: root });
    for (const [name, text] of Object.entries(await written()))
      assert.equal(await readFile(join(root, name), "utf8"), text);
    // A name that climbs stays a record without one.
    await writeFile(
      join(root, "clinic.ndjson"),
      '{"resourceType":"../x"}\n{"resourceType":"A\\n"}\n',
    );
    execFileSync("sh", ["-c", command], { cwd: root });
    assert.equal((await readFile(join(root, "_missing.ndjson"), "utf8")).split("\n").length, 3);
  });

  it("makes an empty folder of an empty export", async () => {
    const summary = await restore([{ content: "", records: 0 }]);
    assert.deepEqual(summary.files, []);
    assert.deepEqual(await written(), {});
  });

  it("keeps records that go over many pages whole, wherever their member stands", async () => {
    const wide = "w".repeat(5000);
    const early = `{"type":"Early","text":"${wide}"}`;
    const late = `{"text":"${wide}","type":"Late"}`;
    const never = `{"text":"${wide}"}`;
    const lines = [early, late, never, late, early];
    await restore([
      page('{"type":"Late"}'),
      ...lines.flatMap((line) => spanning(line, 1024)),
      page('{"type":"Late","last":1}'),
    ]);
    assert.deepEqual(await written(), {
      "Early.ndjson": `${early}\n${early}\n`,
      "Late.ndjson": `{"type":"Late"}\n${late}\n${late}\n{"type":"Late","last":1}\n`,
      "_missing.ndjson": `${never}\n`,
    });
  });

  const hostile = [
    "../x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "C:x",
    "CON",
    "nul.txt",
    "Lpt1",
    "",
    " x",
    "-rf",
    "_missing",
    ".hidden",
    "a\u0000b",
    "a\nb",
    "Zoë",
    "x".repeat(65),
  ];
  for (const value of hostile) {
    it(`refuses the value ${JSON.stringify(value).slice(0, 30)}, and never says it`, async () => {
      const attempt = restore([page('{"type":"A"}', JSON.stringify({ type: value }))]);
      const words = /record 2 has as type is no safe name for a file; expected/;
      await refuses("config-invalid", words, attempt);
      assert.deepEqual((await readdir(root)).sort(), ["out", "to"]);
      await attempt.catch((error: Error) => {
        if (value.length > 3) assert.ok(!error.message.includes(value));
      });
    });
  }

  it("refuses nested values, values that differ by case alone, and a member that comes twice", async () => {
    const nested = restore([page('{"type":{"a":1}}')]);
    await refuses("config-invalid", /record 1 has as type is no safe name/, nested);
    const cases = restore([page('{"type":"Patient"}'), page('{"type":"patient"}')]);
    await refuses("config-invalid", /record 2 has as type differs .* by case alone/, cases);
    const twice = restore([page('{"type":"A","type":"A"}')]);
    await refuses("config-invalid", /record 1 has type twice/, twice);
  });

  it("refuses more values than files may be open, after as many files", async () => {
    const values = (count: number) =>
      page(...Array.from({ length: count }, (_, n) => `{"type":"t${n}"}`));
    const words = /record 513 has as type is the 513th different one; at most 512/;
    await refuses("config-invalid", words, restore([values(513)]));
    const { files } = await restore([values(512)], { run: "r2" });
    assert.equal(files?.length, 512);
  });

  it("refuses formats whose records are not lines of JSON", async () => {
    for (const extension of ["csv", "json", "parquet", "pgtext", "pgbinary"]) {
      const attempt = restore([{ content: "x\n", records: 1 }], { extension, run: extension });
      await assert.rejects(attempt, /only NDJSON is taken apart .* restore it to one file/);
    }
  });

  it("never overwrites a folder, a file or a link in its place", async () => {
    const pages = [page('{"type":"A"}')];
    await restore(pages);
    const path = join(to, "observations");
    const attempts = [() => writeFile(path, "mine"), () => symlink(root, path), () => mkdir(path)];
    await assert.rejects(restore(pages), /observations exists; move it away/);
    for (const put of attempts) {
      await rm(path, { recursive: true });
      await put();
      await assert.rejects(restore(pages), /observations exists; move it away/);
      assert.deepEqual(await readdir(to), ["observations"]);
    }
  });

  it("leaves nothing behind when a page is damaged, or when it is stopped", async () => {
    const pages = [page('{"type":"A"}'), page('{"type":"B"}')];
    const { folder, names } = await makeExport(join(root, "out"), pages);
    const last = join(folder, names[1]!);
    const bytes = await readFile(last);
    await writeFile(
      last,
      bytes.map((byte, at) => (at === 20 ? byte ^ 1 : byte)),
    );
    const target = { folder: to, by: "type" };
    await refuses("integrity-failed", /was changed/, restoreExport(folder, { to: target }));
    await writeFile(last, bytes);
    const stop = new AbortController();
    const stopped = restoreExport(folder, {
      to: target,
      signal: stop.signal,
      onProgress: () => stop.abort(new PipelineError("interrupted", "stop")),
    });
    await refuses("interrupted", /stop/, stopped);
  });

  it("leaves nothing behind on a full disk", async function () {
    const unmount = await mountSmallDisk(this, to);
    try {
      const wide = page(`{"type":"A","x":"${"x".repeat(100_000)}"}`);
      await refuses("disk-full", /no room left in/, restore([wide], { run: "r2" }));
    } finally {
      unmount();
    }
  });

  it("ends short writes, and leaves nothing behind when a write or a sync fails, of a file or a folder", async () => {
    const late = `{"text":"${"w".repeat(5000)}","type":"B"}`;
    const pages = [page('{"type":"A"}'), ...spanning(late, 1024), page('{"type":"A"}')];
    const { folder } = await makeExport(join(root, "out"), pages);
    const attempt = () => restoreExport(folder, { to: { folder: to, by: "type" } });
    const files = failFiles(to);
    const fail = () => Promise.reject(failure("EIO"));
    try {
      for (const [on, at] of [
        ["write", /A\.ndjson$/],
        ["write", /\.waiting$/],
        ["read", /\.waiting$/],
        ["sync", /B\.ndjson$/],
        ["sync", /\.partial$/],
        ["mkdir", /\.partial$/],
      ] as const) {
        files.faults.push({ on, at, play: fail });
        await refuses("destination-failed", /writing to .* failed \(EIO\)/, attempt());
        assert.deepEqual(files.faults, [], `${on} ${at}`);
      }
      for (const at of [/A\.ndjson$/, /\.waiting$/])
        files.faults.push({ on: "write", at, play: (go) => go(7) });
      // Once the partial folder is in it, and again when that has its name.
      for (let times = 0; times < 2; times += 1)
        files.faults.push({ on: "sync", at: /\/to$/, play: (go) => go() });
      await attempt();
      assert.deepEqual(files.faults, []);
    } finally {
      files.restore();
    }
    assert.deepEqual(await written(), {
      "A.ndjson": '{"type":"A"}\n'.repeat(2),
      "B.ndjson": `${late}\n`,
    });
  });
});
