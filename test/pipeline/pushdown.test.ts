import assert from "node:assert/strict";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";

const source = '  - postgres: { url: "${env:URL}", query: "select * from results" }';
const behind = [
  "  - serialize: ndjson",
  "  - chunk: 1MiB",
  "  - compress: zstd",
  "  - encrypt: none",
  "  - spool: ./spool",
  "  - upload: ./out",
];

interface PlanOptions {
  readonly first?: string;
  readonly apart?: boolean;
  readonly resolve?: "full" | "none";
}

async function plan(
  rowStages: readonly string[],
  { first = source, apart = false, resolve = "full" }: PlanOptions = {},
) {
  const lines = ["name: pushed", "memory: 256MiB", "stages:", first, ...rowStages, ...behind];
  const pipeline = parsePipeline(lines.join("\n"), "export.yaml");
  const env = { URL: "postgres://me@db/x" };
  const planned = await planPipeline(pipeline, { resolve, env, apart });
  const { stages, pushed, notes } = planned.report;
  return { ...planned, made: stages.map(({ from }) => from.join("+")), pushed, notes };
}

describe("pushdown", () => {
  it("makes row stages behind postgres part of its query, and shows it before and after", async () => {
    const { made, pushed, notes } = await plan([
      "  - filter: { column: code, in: [a, b] }",
      "  - filter: { column: unit, not: null }",
      "  - filter: { column: 'a \"b\"', not: secret }",
      "  - select: [id, code, id]",
    ]);
    assert.equal(made[0], "postgres+filter+filter+filter+select+serialize");
    assert.deepEqual(pushed, {
      stages: ["filter", "filter", "filter", "select"],
      before: [
        "select * from results",
        'then in JavaScript: filter "code" = any ($1)',
        'then in JavaScript: filter "unit" is not null',
        'then in JavaScript: filter "a ""b""" is distinct from $2',
        'then in JavaScript: select "id", "code"',
      ].join("\n"),
      after: [
        'select q."id", q."code"',
        "from (select * from (",
        "select * from results",
        ") as q offset 0) as q",
        'where q."code" = any ($1)',
        '  and q."unit" is not null',
        '  and q."a ""b""" is distinct from $2',
      ].join("\n"),
    });
    assert.ok(notes.includes("filter + filter + filter + select run in the query of postgres"));
    assert.ok(notes.some((note) => note.endsWith("no JavaScript object is made")));
  });

  it("pushes what stands before a function of the user's own, and says what stays, and why", async () => {
    const rows = [
      "  - select: [id, code]",
      "  - filter: { module: ./keep.mjs }",
      "  - filter: { column: code, equals: a }",
    ];
    const { made, pushed, notes } = await plan(rows, { resolve: "none" });
    assert.deepEqual(made.slice(0, 3), ["postgres+select", "filter+filter", "serialize"]);
    assert.deepEqual(pushed?.stages, ["select"]);
    assert.ok(notes.includes("filter stays in JavaScript: it is your own function"));
    assert.ok(notes.includes("filter stays in JavaScript: it comes after another that stays"));
    assert.ok(notes.some((note) => note.includes("become JavaScript objects for filter, filter")));
  });

  it("leaves a filter alone where its parameter could be taken for one of the query's", async () => {
    const first = source.replace("results", "results where code = $1");
    const { pushed, notes } = await plan(["  - filter: { column: code, equals: a }"], { first });
    assert.equal(pushed, null);
    assert.match(notes.join("\n"), /filter stays in JavaScript: `query` must mention each/);
    const nulls = await plan(["  - filter: { column: code, equals: null }"], { first });
    assert.deepEqual(nulls.pushed?.stages, ["filter"]);
  });

  const looksUp = (more = "") =>
    `  - lookup: { url: "\${env:URL}", query: "select code, unit from term", on: { code: code }${more} }`;

  it("lets the query join a lookup of the same database, and keeps the way of before for a server that proves nothing", async () => {
    const rows = [
      "  - filter: { column: code, not: null }",
      looksUp(", missing: drop"),
      "  - select: [id, unit]",
    ];
    const { made, pushed, configured } = await plan(rows);
    assert.equal(made[0], "postgres+filter+lookup+select+serialize");
    assert.deepEqual(pushed, {
      stages: ["filter", "lookup", "select"],
      before: [
        "select * from results",
        'then in JavaScript: filter "code" is not null',
        'then in JavaScript: lookup "code" = "code" in',
        "select code, unit from term",
        'then in JavaScript: select "id", "unit"',
      ].join("\n"),
      after: [
        'select q."id", q."unit"',
        "from (",
        "select q.*, l.*",
        "from (select * from (",
        "select q.*",
        "from (select * from (",
        "select * from results",
        ") as q offset 0) as q",
        'where q."code" is not null',
        ") as q offset 0) as q",
        "join lateral (select * from (",
        "select code, unit from term",
        ") as l",
        'where l."code" = q."code" limit 1) as l on true',
        ") as q",
      ].join("\n"),
    });
    const [{ otherwise = [] }] = configured as [(typeof configured)[number]];
    const before = (await plan(rows.toSpliced(1, 1, looksUp(", missing: fail")))).configured;
    assert.deepEqual(
      otherwise.map(({ name, from = [name] }) => from.join("+")),
      before.slice(0, 3).map(({ name, from = [name] }) => from.join("+")),
    );
    const apart = (await plan([looksUp(", missing: fail")])).report.stages.slice(0, 3);
    const { holdsBytes } = (await plan([looksUp()])).report.stages[0]!;
    assert.ok(holdsBytes >= apart.reduce((sum, stage) => sum + stage.holdsBytes, 0));
  });

  it("leaves a lookup alone that looks at each row, is elsewhere, or could be taken for another", async () => {
    const first = source.replace(" }", ", key: [id], resume: epochs }");
    for (const [given, why] of [
      [looksUp(", missing: fail"), /`missing: fail` looks at each row/],
      [looksUp().replace("env:URL", "env:TERMS"), /its `url` is written otherwise than the one/],
      [looksUp().replace("from term", "from term where $1"), /mentions a parameter, and has none/],
    ] as const) {
      const { pushed, notes } = await plan([given], { resolve: "none" });
      assert.equal(pushed, null);
      assert.match(notes.join("\n"), why);
    }
    const elsewhere = await plan([looksUp().replace("${env:URL}", "postgres://me@terms/x")]);
    assert.match(elsewhere.notes.join("\n"), /its `url` is not the one of the source/);
    await assert.rejects(
      plan([looksUp()], { first, resolve: "none" }),
      /`resume: epochs` cannot follow rows through the stage `lookup`/,
    );
  });

  it("says that other sources give values that JavaScript has already", async () => {
    const first = "  - sqlite: { path: in.db, query: select 1 as a }";
    const { made, pushed, notes } = await plan(["  - select: [a]"], { first });
    assert.equal(pushed, null);
    assert.deepEqual(made.slice(0, 2), ["sqlite", "select"]);
    assert.match(notes.join("\n"), /select stays in JavaScript: rows of sqlite are read in this/);
  });

  it("changes nothing of what a run is bound to, and leaves every stage alone when told", async () => {
    const rows = ["  - filter: { column: code, equals: a }", "  - select: [id]"];
    const pushed = await plan(rows);
    const apart = await plan(rows, { apart: true });
    assert.deepEqual(apart.made.slice(0, 4), ["postgres", "filter", "select", "serialize"]);
    assert.equal(apart.pushed, null);
    assert.equal(pushed.meaning, apart.meaning);
    assert.equal(pushed.report.configDigest, apart.report.configDigest);
  });

  it("lets counts agree where every row of the query becomes a record, not where JavaScript may drop some", async () => {
    const filter = ["  - filter: { column: id, not: 1 }"];
    assert.equal((await plan(["  - select: [id]"], { apart: true })).keepsRows, true);
    assert.equal((await plan(filter)).keepsRows, true);
    assert.equal((await plan(filter, { apart: true })).keepsRows, false);
    assert.equal((await plan([looksUp()])).keepsRows, true);
    assert.equal((await plan([looksUp(", missing: drop")])).keepsRows, false);
  });
});
