import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCsvRecordParser, parseJsonRecord } from "../../src/readback/parse-record.ts";
import { readExport, readPages } from "../../src/readback/read-export.ts";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";
import type { Row } from "../../src/stages/nouns.ts";
import { createKey } from "../fixtures/keys.ts";
import { makeExport, ndjsonPages, type PlainPage } from "../fixtures/make-export.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("read back", () => {
  let root: string;
  let identity: string;
  let recipient: string;
  before(async () => {
    ({ identity, recipient } = await createKey());
  });
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "spillway-read-"));
  });
  afterEach(() => rm(root, { recursive: true }));

  const rowsOf = async (extension: string, pages: readonly PlainPage[]) => {
    const made = await makeExport(root, pages, { extension, encrypt: { to: [recipient] } });
    return all(readExport(made.folder, { identity }));
  };

  it("gives every row once, in order", async () => {
    const { folder } = await makeExport(root, ndjsonPages(1000, 33), {
      encrypt: { to: [recipient] },
    });
    const rows = await all(readExport(folder, { identity }));
    assert.deepEqual(
      rows.map((row) => row["id"]),
      Array.from({ length: 1000 }, (_, id) => id),
    );
    assert.equal(rows[0]?.["name"], "Zoë 0");
    assert.deepEqual(await all(readExport(root, { identity: `# mine\n${identity}\n` })), rows);
  });

  it("joins a record that spans pages, up to a limit", async () => {
    const pages: PlainPage[] = [
      { content: '{"a":"ä', records: 0, span: "first" },
      { content: Buffer.from("ö".slice(0, 1)).subarray(0, 1), records: 0, span: "middle" },
      {
        content: Buffer.concat([Buffer.from("ö").subarray(1), Buffer.from('"}\n')]),
        records: 1,
        span: "last",
      },
      { content: '{"a":2}\n', records: 1 },
    ];
    assert.deepEqual(await rowsOf("ndjson", pages), [{ a: "äö" }, { a: 2 }]);
    const limited = readExport(root, { identity, maxRecordBytes: 8 });
    await assert.rejects(all(limited), failsWith("config-invalid"));
  });

  it("reads csv with NULL as null and the empty text as empty, spans included", async () => {
    const rows = await rowsOf("csv", [
      { content: "id,no", records: 0, span: "first" },
      { content: "te,id\n", records: 0, span: "last" },
      { content: '1,"a ""b""\n,c",9\n2,,\n', records: 2 },
      { content: '3,"', records: 0, span: "first" },
      { content: '\n",x\n', records: 1, span: "last" },
      { content: '4,"",y\n', records: 1 },
    ]);
    assert.deepEqual(rows, [
      { id: "9", note: 'a "b"\n,c' },
      { id: null, note: null },
      { id: "x", note: "\n" },
      { id: "y", note: "" },
    ]);
  });

  it("reads the rows of a json array, spans included", async () => {
    const rows = await rowsOf("json", [
      { content: '[\n{"a":[1,{"b":"]}"}]},\n{"a":"\\""}', records: 2 },
      { content: ',\n{"a":', records: 0, span: "first" },
      { content: "3}", records: 1, span: "last" },
      { content: "\n]\n", records: 0 },
    ]);
    assert.deepEqual(rows, [{ a: [1, { b: "]}" }] }, { a: '"' }, { a: 3 }]);
    assert.deepEqual(await all(readExport(root, { identity })), rows);
  });

  it("refuses rows of a format that it cannot part, whose pages it still gives", async () => {
    const { folder } = await makeExport(root, [{ content: "PAR1", records: 5 }], {
      extension: "parquet",
      compress: "none",
    });
    await assert.rejects(all(readExport(folder)), failsWith("config-invalid"));
    const [page] = await all(readPages(folder));
    assert.equal(Buffer.from(page!.content).toString(), "PAR1");
    assert.equal(page!.identity, undefined);
  });

  it("names who reads PostgreSQL's own formats instead", async () => {
    for (const [extension, format] of [
      ["pgtext", "text"],
      ["pgbinary", "binary"],
    ] as const) {
      const { folder } = await makeExport(root, [{ content: "1\n", records: 1 }], {
        extension,
        run: extension,
      });
      await assert.rejects(all(readExport(folder)), {
        code: "config-invalid",
        message: new RegExp(
          `from ${extension}; .*restore it, .*COPY … FROM … \\(FORMAT ${format}\\)`,
        ),
      });
    }
  });

  it("gives pages with their identity and entry, and lets go when left early", async () => {
    const made = await makeExport(root, ndjsonPages(30, 10), { encrypt: { to: [recipient] } });
    for await (const { entry, identity: page, content } of readPages(root, {
      identity,
      signer: made.signer,
    })) {
      assert.equal(entry.name, made.names[0]);
      assert.deepEqual([page?.page, page?.records, page?.final], [0, 10, false]);
      assert.equal(Buffer.from(content).toString().split("\n").length, 11);
      break;
    }
  });

  it("gives no row more once its signal fires", async () => {
    const { folder } = await makeExport(root, ndjsonPages(30, 10));
    const stop = new AbortController();
    const reason = new Error("enough");
    const seen: unknown[] = [];
    const walk = async () => {
      for await (const row of readExport(folder, { signal: stop.signal })) {
        seen.push(row["id"]);
        if (seen.length === 3) stop.abort(reason);
      }
    };
    await assert.rejects(walk(), reason);
    assert.deepEqual(seen, [0, 1, 2]);
  });

  it("gives the sound pages before a damaged one and then fails", async () => {
    const { folder, names } = await makeExport(root, ndjsonPages(30, 10), {
      encrypt: { to: [recipient] },
    });
    const path = join(folder, names[2]!);
    const bytes = await readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    const seen: unknown[] = [];
    const walk = async () => {
      for await (const row of readExport(folder, { identity })) seen.push(row["id"]);
    };
    await assert.rejects(walk(), failsWith("integrity-failed"));
    assert.equal(seen.length, 20);
  });

  it("fails before the first row when the run is incomplete, foreign, locked or not there", async () => {
    const made = await makeExport(root, ndjsonPages(3, 1), { encrypt: { to: [recipient] } });
    const { identity: stranger } = await createKey();
    const other = await makeExport(root, [], { pipeline: "other", unfinished: true });
    const attempts: [AsyncIterable<Row>, ErrorCode][] = [
      [readExport(made.folder, { identity: stranger }), "key-wrong"],
      [
        readExport(made.folder, { identity, signer: `ed25519:${"A".repeat(43)}=` }),
        "integrity-failed",
      ],
      [readExport(made.folder, { identity: "nonsense" }), "config-invalid"],
      [readExport(other.folder), "not-found"],
      [readExport("gopher://x/y"), "config-invalid"],
    ];
    for (const [rows, code] of attempts) await assert.rejects(all(rows), failsWith(code), code);
    await rm(join(made.folder, "manifest.json"));
    await assert.rejects(all(readExport(made.folder, { identity })), /incomplete/);
  });
});

describe("parse record", () => {
  it("keeps every digit of numbers that a double cannot hold", () => {
    const text =
      '{"big":12345678901234567890,"small":1e-400,"fine":1.50,"exact":0.1,"e":1E3,"n":-0.0,"s":"1e5"}';
    const row = parseJsonRecord(text);
    assert.equal(typeof row["fine"], "number");
    assert.equal(row["e"], 1000);
    assert.equal(
      JSON.stringify(row),
      '{"big":12345678901234567890,"small":1e-400,"fine":1.5,"exact":0.1,"e":1000,"n":0,"s":"1e5"}',
    );
    const long = '{"n":3.14159265358979323846264338327950288}';
    assert.equal(JSON.stringify(parseJsonRecord(long)), long);
  });

  it("does not let a row reach Object.prototype", () => {
    parseJsonRecord('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    assert.equal(({} as Row)["polluted"], undefined);
  });

  it("refuses what is not one record", () => {
    const parseCsvRecord = createCsvRecordParser(copyDialect);
    for (const text of ["", "[]", "1", "null", "{", '{"a":1}{"b":2}']) {
      assert.throws(() => parseJsonRecord(text), failsWith("integrity-failed"), text);
    }
    for (const text of ["", "a", 'a"b\n', '"a\n', "a\nb\n", '"a"b\n']) {
      assert.throws(() => parseCsvRecord(text), failsWith("integrity-failed"), text);
    }
    assert.deepEqual(parseCsvRecord("\n"), [null]);
    assert.deepEqual(parseCsvRecord('"",\n'), ["", null]);
    assert.deepEqual(parseCsvRecord(`"${'""'.repeat(4_000_000)}"\n`), ['"'.repeat(4_000_000)]);
  });
});
