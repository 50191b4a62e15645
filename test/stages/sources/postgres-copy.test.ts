/** COPY formats from a real server: what comes, what is refused. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as v from "valibot";
import type { PipelineError } from "../../../src/errors.ts";
import { parsePipeline } from "../../../src/pipeline/load.ts";
import { planPipeline } from "../../../src/pipeline/plan.ts";
import { postgresCopy } from "../../../src/stages/sources/postgres-copy.ts";
import { checkStageContract } from "../../contract/stage-contract.ts";
import { copyOut } from "../../fixtures/copy.ts";
import { usualDialects } from "../../fixtures/csv-dialects.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";
import { writeRecords } from "./postgres-wire/wire-records.ts";
import {
  copyOptions,
  formats,
  openCopy,
  writeCopy,
  type Config,
} from "./postgres-copy/copy-files.ts";

let url = "";
before(async () => {
  ({ url } = await sharedPostgres());
});

const thousand = "select g, repeat('x', g % 100) as t from generate_series(1, 1000) g";

async function refusal(config: Config): Promise<PipelineError> {
  let failure: PipelineError | undefined;
  await writeCopy(config).catch((error: PipelineError) => (failure = error));
  assert.ok(failure, "it fails");
  assert.equal(failure.cause, undefined);
  return failure;
}

const source = `postgres-copy: { url: "postgres://localhost/x", query: select 1, format: text }`;

/** Plans a pipeline that begins with these stages. */
async function plan(...stages: readonly string[]) {
  const rest = [
    "chunk: 1MiB",
    "compress: zstd",
    "encrypt: none",
    "spool: ./spool",
    "upload: ./out",
  ];
  const lines = [...stages, ...rest].map((stage) => `  - ${stage}`).join("\n");
  const pipeline = parsePipeline(`name: copy\nstages:\n${lines}\n`, "copy.yaml");
  return planPipeline(pipeline, { resolve: "none" });
}

describe("postgres-copy", () => {
  for (const format of formats) {
    describe(format, () => {
      checkStageContract({
        stage: postgresCopy,
        config: () => ({ url, query: thousand, format }),
        required: ["url", "query", "format"],
        wrong: { url: "mysql://x", query: 7, format: "parquet", timeout: "long", params: ["1"] },
        contentOf: (batches) => Buffer.concat(batches.map(({ bytes }) => bytes)).toString("latin1"),
        empty: {
          config: () => ({ url, query: `${thousand} where false`, format }),
          check: (batches, error) => {
            assert.equal(error, undefined);
            assert.ok(batches.every(({ framing, ends }) => framing || ends.length === 0));
            assert.equal(batches.at(-1)?.end?.rows, 0);
          },
        },
      });
    });
  }

  it("counts rows alone, and ends with the proof of the snapshot", async () => {
    for (const format of formats) {
      const query = `${thousand};`;
      const { records, first, last, file } = await writeCopy({ url, query, format });
      assert.equal(records, 1000);
      assert.deepEqual(first.expects, { rows: 1000, exact: false });
      assert.deepEqual(
        last.columns.map(({ name, type }) => [name, type]),
        [
          ["g", "int4"],
          ["t", "text"],
        ],
      );
      assert.equal(last.end?.rows, 1000);
      assert.equal(last.end.queryDigest, createHash("sha256").update(query).digest("hex"));
      assert.equal(last.end.consistency.class, "snapshot");
      assert.match(String(last.end.consistency.proof["snapshot"]), /^\d+:\d+:/);
      assert.ok(file.equals(await copyOut(url, thousand, copyOptions[format])));
    }
  });

  it("prints CSV in the dialect it is told, as postgres and serialize do", async () => {
    const query = `select g, case when g % 3 > 0 then E'a;|''"\\n' || g end as t from generate_series(1, 50) g`;
    for (const dialect of Object.values(usualDialects)) {
      const { lineEnd: _, bom: _mark, ...told } = dialect;
      const { file, records } = await writeCopy({ url, query, format: "csv", ...told });
      const wire = await writeRecords({ url, query }, "csv", { dialect: told });
      assert.equal(file.toString(), wire.text);
      assert.equal(records, 50);
    }
  });

  it("takes a dialect for CSV alone", () => {
    for (const format of ["text", "binary"] as const) {
      const config = { url: "postgres://h/d", query: "select 1", format, delimiter: ";" };
      const { issues = [] } = v.safeParse(postgresCopy.config, config);
      assert.deepEqual(
        issues.map((issue) => v.getDotPath(issue)),
        ["delimiter"],
      );
    }
  });

  it("prints in the settings of an export, whatever the database's own are", async () => {
    await runSql(
      url,
      "alter role postgres set datestyle = 'German'",
      "alter role postgres set timezone = 'Asia/Tokyo'",
    );
    try {
      const query =
        "select '2024-02-29 12:00:00+00'::timestamptz, '\\x00'::bytea, '1 day'::interval";
      const { file } = await writeCopy({ url, query, format: "text" });
      assert.equal(file.toString(), "2024-02-29 12:00:00+00\t\\\\x00\t1 day\n");
    } finally {
      await runSql(
        url,
        "alter role postgres reset datestyle",
        "alter role postgres reset timezone",
      );
    }
  });

  it("reads one snapshot: rows committed later do not appear", async () => {
    await runSql(
      url,
      "drop table if exists copy_rows",
      "create table copy_rows as select generate_series(1, 9) as g",
    );
    const batches = openCopy({ url, query: "select * from copy_rows", format: "csv" });
    await batches.next();
    await runSql(url, "insert into copy_rows values (10)");
    let rows = 0;
    for await (const { ends, framing } of batches) rows += framing ? 0 : ends.length;
    assert.equal(rows, 9);
  });

  it("hands rows longer than a page over in parts, and only those", async () => {
    const query =
      "select g, repeat('é\\n', case when g % 7 = 3 then 700000 + g else g * 9 end) from generate_series(1, 40) g";
    for (const format of formats) {
      const parts: Buffer[] = [];
      let unfinished = 0;
      for await (const { bytes, ends, framing } of openCopy({ url, query, format })) {
        parts.push(Buffer.from(bytes));
        const rest = bytes.length - (Array.from(ends).at(-1) ?? 0);
        if (framing) assert.equal(rest, 0);
        else if (rest > 0) {
          unfinished += 1;
          assert.equal(ends.length, 0);
          assert.ok(rest > 2 ** 20 && rest < 2 ** 20 + 100);
        }
      }
      assert.ok(unfinished >= 6);
      assert.ok(Buffer.concat(parts).equals(await copyOut(url, query, copyOptions[format])));
    }
  });

  it("refuses what COPY does not take", async () => {
    for (const [query, message] of [
      ["select 1; select 2", /more than one statement/],
      ["select 1) to stdout; select (2", /syntax error/],
      ["-- nothing", /gives no rows/],
      ["delete from pg_class", /gives no rows/],
      ["show server_version", /no statement that COPY takes.*42601/],
      ["select $1::text as secret_name", /has a parameter.*42P02/],
      ["select secret_name from nowhere", /SQLSTATE 42P01/],
    ] as const) {
      const error = await refusal({ url, query, format: "text" });
      assert.equal(error.code, "source-refused", query);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /nowhere|secret_name/);
    }
  });
});

describe("plan of postgres-copy", () => {
  it("holds a page, a compiler of JavaScript and little more", async () => {
    const { report } = await plan(source);
    assert.deepEqual(report.stages[0], {
      name: "postgres-copy",
      from: ["postgres-copy"],
      takes: "nothing",
      gives: "records",
      holdsBytes: 10.75 * 2 ** 20,
    });
  });

  it("refuses parameters, which COPY does not bind", async () => {
    await assert.rejects(plan(source.replace("format", 'params: ["7"], format')), {
      code: "config-invalid",
      message: /copy\.yaml:3:\d+: .*params: COPY takes no parameters.*expected `postgres`/,
    });
  });

  it("refuses stages that work on rows behind it, and says what to do", async () => {
    for (const stage of ["serialize: csv", "select: [a]"]) {
      await assert.rejects(plan(source, stage), {
        code: "config-invalid",
        message: /takes rows, but the stage before it gives records already; leave it out, or/,
      });
    }
  });
});
