import assert from "node:assert/strict";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import * as v from "valibot";
import { PipelineError } from "../../../src/errors.ts";
import { run } from "../../../src/pipeline/run.ts";
import type { Row } from "../../../src/stages/nouns.ts";
import { createQueries } from "../../../src/stages/queries/queries.ts";
import { defineTransform } from "../../../src/stages/transforms/define-transform.ts";
import {
  countedRows,
  makePipeline,
  plainOf,
  readPageFiles,
  testEnv,
  useFolder,
} from "../../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

/** The nightly job's mistake: one question for each row. */
const askEachRow = (url: string) =>
  defineTransform({
    name: "ask-each-row",
    summary: "Asks for the name of each row's code.",
    config: v.strictObject({}),
    work:
      (_config, { query }) =>
      async (row: Row) => {
        const code = `c${Number(row["id"]) % 150}`;
        const [term] = await query(url, "select display from queries_term where code = $1", [code]);
        return { ...row, display: term?.["display"] };
      },
  })({});

describe("ctx.query", () => {
  const folder = useFolder();
  let url: string;
  before(async () => {
    ({ url } = await sharedPostgres());
    await runSql(
      url,
      "create table queries_term as select 'c' || g as code, 'Term ' || g as display, g as n, array[g] as list from generate_series(0, 149) g",
    );
  });

  it("answers stages of one's own, and tells of a statement asked for each row", async () => {
    const [dir, to] = [folder.next(), folder.next()];
    const source = countedRows({ rows: 300, row: (id) => ({ id }) });
    const warnings: string[] = [];
    const log = { info() {}, warn: (message: string) => void warnings.push(message) };
    const pipeline = makePipeline({ source, rows: [askEachRow(url)], dir, to });
    const summary = await run(pipeline, { env: testEnv, log });
    const pages = await readPageFiles(join(to, summary.pipeline, summary.runId));
    const lines = plainOf(pages).trimEnd().split("\n");
    assert.equal(lines.length, 300);
    assert.equal(lines[151], '{"id":151,"display":"Term 1"}');
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]!,
      /was asked 100 times with 100 different parameters.*a `lookup` asks once for many rows: \{ query: select code, display from queries_term, on: code \}/,
    );
    const [asked] = summary.queries!;
    assert.equal(asked?.asked, 300);
    assert.equal(asked.parameterSets, 150);
    assert.equal(asked.repeated, 150);
    assert(asked.seconds > 0);
  });

  it("gives rows as `map` sees them, from one snapshot", async () => {
    const queries = createQueries(new AbortController().signal, () => {});
    try {
      const sql = "select n, list, display from queries_term where n = $1";
      assert.deepEqual(await queries.query(url, sql, [7]), [
        { n: 7, list: "[7]", display: "Term 7" },
      ]);
      assert.deepEqual(await queries.query(url, sql, [null]), []);
      await runSql(url, "insert into queries_term values ('c7b', 'Later', 7, '{}')");
      assert.equal((await queries.query(url, sql, [7])).length, 1);
    } finally {
      await queries.close();
    }
    await runSql(url, "delete from queries_term where display = 'Later'");
  });

  it("answers questions that are asked at once one after the other, also behind one that fails", async () => {
    const warnings: string[] = [];
    const hear = ({ message }: Error) => void warnings.push(message);
    process.on("warning", hear);
    const queries = createQueries(new AbortController().signal, () => {});
    try {
      const sql = "select display from queries_term where n = $1 and array_length(list, 1) = 1";
      const asked = Array.from({ length: 20 }, (_, n) => queries.query(url, sql, [n]));
      const answers = await Promise.all(asked);
      assert.deepEqual(
        answers.flat(),
        Array.from({ length: 20 }, (_, n) => ({ display: `Term ${n}` })),
      );
      const failing = queries.query(url, "select 1 / $1::int as n", [0]);
      const behind = queries.query(url, sql, [1]);
      await assert.rejects(failing, { code: "source-refused" });
      await assert.rejects(behind, PipelineError);
      // Warnings are emitted in the next turn.
      await setImmediate();
      assert.deepEqual(warnings, []);
    } finally {
      process.off("warning", hear);
      await queries.close();
    }
  });

  it("says nothing of parameters when a question fails, and closes what it opened", async () => {
    const queries = createQueries(new AbortController().signal, () => {});
    const failed = queries.query(url, "select 1 / $1::int as n where $2 = $2", [0, "canary"]);
    await assert.rejects(failed, (error: unknown) => {
      assert(error instanceof PipelineError);
      assert.equal(error.code, "source-refused");
      assert.doesNotMatch(error.message, /canary/);
      return true;
    });
    await queries.close();
    const open =
      "select count(*) from pg_stat_activity where application_name = 'spillway' and state = 'idle in transaction'";
    assert.deepEqual(await runSql(url, open), [["0"]]);
  });

  it("is not told of where no stage asks", async () => {
    const source = countedRows({ rows: 3 });
    const pipeline = makePipeline({ source, dir: folder.next(), to: folder.next() });
    assert.equal((await run(pipeline, { env: testEnv })).queries, undefined);
  });
});
