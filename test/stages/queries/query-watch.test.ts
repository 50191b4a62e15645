import assert from "node:assert/strict";
import { watchQueries } from "../../../src/stages/queries/query-watch.ts";

function watched() {
  const warnings: string[] = [];
  let millis = 0;
  const watch = watchQueries(
    (message) => warnings.push(message),
    () => millis,
  );
  const ask = (sql: string, params: readonly unknown[] = []) => {
    millis += 10;
    watch.answered(sql, params, 4);
  };
  return { warnings, watch, ask };
}

describe("watchQueries", () => {
  it("warns once, at the hundredth question, of a statement asked with other parameters each time", () => {
    const { warnings, watch, ask } = watched();
    const sql = "select display, unit\n  from term where code = $1";
    for (let i = 0; i < 99; i += 1) ask(sql, [`canary${i}`]);
    assert.deepEqual(warnings, []);
    for (let i = 99; i < 500; i += 1) ask(sql, [`canary${i}`]);
    assert.deepEqual(warnings, [
      '"select display, unit from term where code = $1" was asked 100 times with 100 different parameters ' +
        "(400 ms, 40 % of the time so far); a `lookup` asks once for many rows: " +
        "{ query: select code, display, unit from term, on: code }",
    ]);
    assert.deepEqual(watch.stats(), [
      {
        statement: "select display, unit from term where code = $1",
        asked: 500,
        parameterSets: 500,
        repeated: 0,
        seconds: 2,
        lookup: { query: "select code, display, unit from term", on: "code" },
      },
    ]);
  });

  it("takes statements with pasted values for one, and shows none of the values", () => {
    const { warnings, watch, ask } = watched();
    for (let i = 0; i < 120; i += 1)
      ask(`select display from term where code = 'it''s ${i}' and n > -${i}.5 and q = $x$${i}$x$`);
    assert.equal(watch.stats().length, 1);
    assert.equal(
      watch.stats()[0]?.statement,
      "select display from term where code = … and n > -… and q = …",
    );
    assert.match(warnings.join(), /100 different parameters .* asks once for many rows$/);
    ask(String.raw`select e'it\'s canary' || '--' -- canary
      from /* canary */ term`);
    assert.equal(watch.stats()[1]?.statement, "select … || … … from … term");
  });

  it("notices the same question asked again", () => {
    const { warnings, watch, ask } = watched();
    for (let i = 0; i < 100; i += 1) ask("select * from setting where key = $1", [i % 3]);
    assert.match(
      warnings.join(),
      /100 times, 97 of them with parameters it had been asked with before/,
    );
    assert.match(warnings.join(), /ask once and keep the answer/);
    assert.equal(watch.stats()[0]?.repeated, 97);
    ask("select now()");
    ask("select now()");
    assert.deepEqual(watch.stats()[1], {
      statement: "select now()",
      asked: 2,
      parameterSets: 1,
      repeated: 1,
      seconds: 0.008,
    });
  });

  it("leaves names with digits alone", () => {
    const { watch, ask } = watched();
    ask('select c1, "x 2" from t_3 where q1.id4 = 5');
    assert.equal(watch.stats()[0]?.statement, 'select c1, "x 2" from t_3 where q1.id4 = …');
  });

  it("holds a bounded number of statements and parameters", () => {
    const { watch, ask } = watched();
    for (let i = 0; i < 1200; i += 1) ask(`select a${i}`);
    assert.equal(watch.stats().length, 1000);
    for (let i = 0; i < 10_200; i += 1) ask("select a0", [i]);
    assert.equal(watch.stats()[0]?.parameterSets, 10_000);
  });
});
