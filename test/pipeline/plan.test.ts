import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import * as v from "valibot";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { Row } from "../../src/stages/nouns.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { defineStage, type StageUse } from "../../src/stages/stage.ts";
import { map } from "../../src/stages/transforms/map.ts";
import { countedRows, defineUnchecked, makePipeline, testEnv } from "../fixtures/pipelines.ts";

const head = ["name: observations", "memory: 256MiB", "stages:"];
const stages = [
  "  - ndjson: in.ndjson",
  "  - serialize: ndjson",
  "  - chunk: 1MiB",
  "  - compress: zstd",
  "  - encrypt: none",
  "  - spool: ./spool",
  "  - upload: ./out",
];

const planYaml = (lines: readonly string[], env = {}) =>
  planPipeline(parsePipeline([...head, ...lines].join("\n"), "export.yaml"), {
    resolve: "none",
    env,
  });

const refused = (lines: readonly string[], message: RegExp, code = "config-invalid") =>
  assert.rejects(planYaml(lines), { code, exitCode: 2, message });

describe("plan", () => {
  it("says what will run, what it holds and what it adds up to", async () => {
    const { report } = await planYaml(stages);
    assert.deepEqual(
      report.stages.map(({ name, from }) => [name, from.join("+")]),
      [
        ["ndjson", "ndjson"],
        ["serialize", "serialize"],
        ["chunk", "chunk"],
        ["seal", "compress+encrypt"],
        ["spool", "spool"],
        ["upload", "upload"],
      ],
    );
    assert.equal(report.memoryBytes, 256 * 2 ** 20);
    const sum = report.ledger.reduce((all, { bytes }) => all + bytes, 0);
    assert.ok(sum <= report.memoryBytes);
    assert.equal(report.ledger.at(-1)?.bytes, report.leaseBytes);
    assert.match(report.notes.join("\n"), /compress \+ encrypt run as one stage/);
  });

  it("refuses in words, at their line, the wirings that do not compile in code", async () => {
    await refused(
      stages.slice(1),
      /export\.yaml:4:5: stages: serialize takes rows.*must be a source/,
    );
    await refused(
      [stages[0]!, ...stages],
      /export\.yaml:5:5: .*ndjson is a source.*only be the first/,
    );
    for (let absent = 1; absent < 6; absent += 1) {
      const missing = /\w+/.exec(stages[absent]!)![0];
      const line = 4 + absent;
      await refused(
        stages.toSpliced(absent, 1),
        new RegExp(`export\\.yaml:${line}:5: .*\`${missing}\`.*must come between`),
      );
    }
    await refused(stages.slice(0, -1), /export\.yaml:9:5: .*`upload` must follow/);
    await refused([...stages, "  - select: [a]"], /select takes rows.*gives receipts/);
    await refused(stages.toSpliced(2, 0, "  - select: [a]"), /select takes rows.*gives records/);
  });

  it("refuses a stage of one's own in the place of one that resume rests on", async () => {
    const straight = defineStage({
      name: "straight",
      summary: "Seals at once.",
      config: v.strictObject({}),
      takes: "pages",
      gives: "sealed",
      holds: () => 0,
      open: (_config, _ctx, input) => input as never,
    })({}) as StageUse;
    const parts = [serialize("ndjson"), chunk("1MiB"), straight, spool("./s"), upload("./o")];
    const pipeline = defineUnchecked({ name: "x", stages: [countedRows({ rows: 1 }), ...parts] });
    await assert.rejects(planPipeline(pipeline, { resolve: "none", env: {} }), {
      code: "config-invalid",
      message: /`compress`, `encrypt` must be there/,
    });
  });

  it("refuses what cannot fit its memory, before anything is opened", async () => {
    await refused(
      stages.with(2, "  - chunk: 200MiB"),
      /^export\.yaml:2:9: memory: 256 MiB is too little.*lower `chunk\.size` \(now 200 MiB\)/,
      "budget-too-small",
    );
  });

  it("refuses a destination that is none at its place, and leaves one behind a reference alone", async () => {
    await refused(
      stages.with(6, "  - upload: ftp://host/x"),
      /^export\.yaml:10:13: the destination has the unknown scheme `ftp:`/,
    );
    await refused(
      stages.with(6, "  - upload: { table: t, to: sqlite:x }"),
      /^export\.yaml:10:29: upload: a sqlite destination writes rows; expected/,
    );
    await planYaml(stages.with(6, '  - upload: "${env:TO}"'));
  });

  it("takes relative paths from the folder of the file, those behind a scheme too", async () => {
    const place = async (to: string) => {
      const text = [...head, ...stages.slice(0, 3), "  - compress: none", ...stages.slice(4, 6)];
      const yaml = [
        ...text,
        `  - upload: { to: "${to}"${/^sqlite/i.test(to) ? ", table: t" : ""} }`,
      ];
      const pipeline = parsePipeline(yaml.join("\n"), "/etc/spillway/export.yaml");
      return (await planPipeline(pipeline, { resolve: "none", env: {} })).upload.to;
    };
    for (const [to, placed] of [
      ["./out", "/etc/spillway/out"],
      ["file:./out", "file:/etc/spillway/out"],
      ["tar:out.tar", "tar:/etc/spillway/out.tar"],
      ["sqlite:./a%41.db", "sqlite:/etc/spillway/a%41.db"],
      ["SQLite:../b.db", "SQLite:/etc/b.db"],
      ["sqlite:/c.db", "sqlite:/c.db"],
      ["file:///d", "file:///d"],
      ["s3://bucket/e", "s3://bucket/e"],
    ] as const)
      assert.equal(await place(to), placed);
  });

  it("does not touch source, spool or destination, and asks for no secret", async () => {
    const lines = stages.with(4, '  - encrypt: { passphrase: "${env:NOT_SET}" }');
    assert.equal((await planYaml(lines)).layers.encrypt, "age");
    await assert.rejects(
      planPipeline(parsePipeline([...head, ...lines].join("\n"), "x.yaml"), {
        resolve: "full",
        env: {},
      }),
      { code: "config-invalid", message: /NOT_SET/ },
    );
  });

  it("fits files of rows into the default budget, telemetry and row work included", async () => {
    const rowWork = ["  - select: [id]", "  - filter: { column: id, equals: 1 }"];
    for (const source of ["csv", "json", "ndjson"]) {
      const of = [`  - ${source}: in.${source}`, ...rowWork, ...stages.slice(1)];
      const yaml = ["name: x", "stages:", ...of, "telemetry: { otlp: http://x }"].join("\n");
      const { report } = await planPipeline(parsePipeline(yaml, "x.yaml"), {
        resolve: "none",
        env: {},
      });
      assert.equal(report.memoryBytes, 96 * 2 ** 20, source);
    }
  });

  it("refuses at their line what telemetry cannot be sent to, or served at, but for references", async () => {
    for (const otlp of ["collector:4318", "not a url", "ftp://user@host"])
      await refused(
        [...stages, "telemetry:", `  otlp: "${otlp}"`],
        /^export\.yaml:12:9: telemetry\.otlp: expected a URL such as http:\/\/localhost:4318$/,
      );
    for (const prometheus of ["host", "host:0", "host:99999", "::"])
      await refused(
        [...stages, "telemetry:", `  prometheus: "${prometheus}"`],
        /^export\.yaml:12:15: telemetry\.prometheus: expected host:port such as 127\.0\.0\.1:9464/,
      );
    for (const told of ["otlp: http://${env:HOST}:4318", 'prometheus: "127.0.0.1:${env:PORT}"'])
      await planYaml([...stages, "telemetry:", `  ${told}`]);
  });

  it("counts telemetry only where somebody listens", async () => {
    const lines = async (env: Record<string, string>, more: readonly string[] = []) =>
      (await planYaml([...stages, ...more], env)).report.ledger.map(({ name }) => name);
    assert.ok(!(await lines({})).includes("telemetry"));
    assert.ok((await lines({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://x" })).includes("telemetry"));
    assert.ok((await lines({}, ["telemetry: { otlp: http://x }"])).includes("telemetry"));
  });

  it("digests the stages as written, secrets unresolved, and nothing else", async () => {
    const digest = async (lines: readonly string[], env = {}) =>
      (await planYaml(lines, env)).report.configDigest;
    const first = await digest(stages);
    assert.match(first, /^[0-9a-f]{64}$/);
    assert.equal(await digest([...stages, "telemetry: { sdk: light }"]), first);
    assert.notEqual(await digest(stages.with(2, "  - chunk: 2MiB")), first);
    const secret = stages.with(4, '  - encrypt: { passphrase: "${env:PASS}" }');
    assert.equal(await digest(secret, { PASS: "a" }), await digest(secret, { PASS: "b" }));
  });

  it("digests work given in code: functions by their text, streams by their class, never what is inside", async () => {
    const digest = async (work: unknown) => {
      const rows = [map({ module: work as () => Row })];
      const source = countedRows({ rows: 1 });
      const pipeline = makePipeline({ source, rows, dir: "./s", to: "./o" });
      return (await planPipeline(pipeline, { resolve: "full", env: testEnv })).report.configDigest;
    };
    assert.equal(await digest((row: Row) => row), await digest((row: Row) => row));
    assert.notEqual(await digest((row: Row) => row), await digest((row: Row) => ({ ...row })));
    const stream = () => new PassThrough({ objectMode: true });
    const used = stream();
    used.write({ id: 1 });
    assert.equal(await digest(stream()), await digest(used));
  });

  it("knows that counts must agree only where no row function may drop or add rows", async () => {
    assert.equal((await planYaml(stages)).keepsRows, true);
    const selected = stages.toSpliced(1, 0, "  - filter: { column: a, not: null }");
    assert.equal((await planYaml(selected)).keepsRows, false);
  });

  it("says of a lookup how it asks, and where a join would do", async () => {
    const notesFor = async (url: string, missing = "keep") => {
      const query = "select code, display from term";
      const all = stages.toSpliced(
        0,
        1,
        "  - postgres: { url: postgres://localhost/clinic, query: select 1 }",
        `  - lookup: { url: "${url}", query: "${query}", on: code, cache: 2MiB, missing: ${missing} }`,
      );
      return (await planYaml(all)).report.notes.join("\n");
    };
    const joined = await notesFor("postgres://localhost/clinic");
    assert.match(joined, /^lookup run in the query of postgres$/m);
    assert.match(joined, /^lookup is joined by postgres where the server proves at the start/m);
    assert.match(joined, /otherwise it reads its query once, whole, where the rows fit 2 MiB/);
    assert.doesNotMatch(joined, /a join in `query`/);
    const same = await notesFor("postgres://localhost/clinic", "fail");
    assert.match(same, /rows of postgres pass lookup as they come, no JavaScript object/);
    assert.match(same, /lookup stays in JavaScript: `missing: fail` looks at each row/);
    assert.match(same, /lookup reads its query once, whole, where the rows fit 2 MiB/);
    assert.match(same, /lookup asks the database that postgres reads; a join in `query`/);
    const other = await notesFor("postgres://localhost/terms");
    assert.match(other, /lookup stays in JavaScript: its `url` is not the one of the source/);
    assert.doesNotMatch(other, /a join/);
  });

  it("says what becomes of rows in a table, also behind a reference", async () => {
    const notesFor = async (upload: string) => {
      const all = stages.with(3, "  - compress: none").with(6, `  - upload: ${upload}`);
      return (await planYaml(all)).report.notes.join("\n");
    };
    const keyed = await notesFor('{ to: "${env:TO}", table: a.b, key: [x, y] }');
    assert.match(keyed, /each page becomes rows of a\.b, .*; rows with the same x, y are replaced/);
    const appended = await notesFor("{ to: sqlite:x.db, table: t }");
    assert.match(appended, /each page becomes rows of t, .*; rows are appended/);
    assert.doesNotMatch(await notesFor("./out"), /becomes rows/);
  });

  it("says of rows that they become records as they are only where the format lets them", async () => {
    const first = "  - postgres: { url: postgres://localhost/clinic, query: select 1 }";
    const notesFor = async (format: string) => {
      const all = [first, `  - serialize: ${format}`, ...stages.slice(2)];
      return (await planYaml(all)).report.notes.join("\n");
    };
    assert.match(await notesFor("csv"), /no JavaScript object is made/);
    const parquet = await notesFor("parquet");
    assert.match(parquet, /needs the values of rows, so they are made as objects/);
    assert.doesNotMatch(parquet, /no JavaScript object is made/);
  });

  it("takes every layer from the stages", async () => {
    const layers = async (codec: "zstd" | "gzip" | "none", seal: Record<string, unknown>) => {
      const all = [
        countedRows({ rows: 1 }),
        serialize("csv"),
        chunk("1MiB"),
        compress(codec),
        encrypt(seal as { mode: "none" }),
        spool("./s"),
        upload("./o"),
      ];
      const pipeline = defineUnchecked({ name: "x", memory: "256MiB", stages: all });
      return (await planPipeline(pipeline, { resolve: "none", env: {} })).layers;
    };
    const to = "age1yeznxjjp7n4hz27d4gkwad7wrdulpfxm64f62ac5nc07npm84cgq3tzux6";
    assert.deepEqual(await layers("gzip", { mode: "none" }), { compress: "gzip", encrypt: "none" });
    assert.deepEqual(await layers("none", { to }), { compress: "none", encrypt: "age" });
  });
});
