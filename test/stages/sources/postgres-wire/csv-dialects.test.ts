/** Dialects of CSV on both paths, against what COPY prints with the options of the same meaning. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { dialectOf, type CsvOptions } from "../../../../src/stages/formats/csv-dialect.ts";
import { anyDialect, copyOptions, textsOf, usualDialects } from "../../../fixtures/csv-dialects.ts";
import { corpusPostgres, typeQueries } from "../../../servers/postgres-corpus.ts";
import { copyCsv, writeRecords } from "./wire-records.ts";

let url = "";

before(async () => {
  url = await corpusPostgres();
});

/** The same on both paths, and COPY's own as far as it has words for the dialect. */
async function assertSame(query: string, options: CsvOptions): Promise<void> {
  const fast = await writeRecords({ url, query }, "csv", { dialect: options });
  const plain = await writeRecords({ url, query }, "csv", { dialect: options, apart: true });
  assert.equal(fast.text, plain.text);
  assert.equal(fast.records, plain.records);
  const dialect = dialectOf(options);
  if (dialect.lineEnd === "crlf" || dialect.bom) return;
  assert.equal(fast.text, await copyCsv(url, query, copyOptions(dialect)));
}

const sqlText = (text: string | null): string =>
  text === null ? "null" : `'${text.replaceAll("'", "''")}'`;

/** One row of every type. */
const everyType = `select * from ${Object.entries(typeQueries)
  .filter(([name]) => !/statistics|whole table/.test(name))
  .map(([, query], at) => `(${query} limit 1) q${at}`)
  .join(" cross join ")}`;

describe("dialects of CSV straight from postgres", () => {
  for (const [name, options] of Object.entries(usualDialects)) {
    it(`write every type as the row path and COPY do: ${name}`, async () => {
      await assertSame(everyType, options);
      await assertSame(everyType, { ...options, lineEnd: "lf", bom: false, quoteAll: true });
    });
  }

  it("write any texts as the row path and COPY do, beside values of a fixed form and alone", async () => {
    const values =
      "true as b, -1 as i, 'NaN'::numeric as n, '\\x' ::bytea as x, date '2024-01-02' as d";
    const cases = anyDialect.chain((options) =>
      fc.tuple(
        fc.constant(options),
        fc.array(fc.option(textsOf(options)), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
      ),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([options, texts, isAlone]) => {
        const rows = texts.map((text) => `(${sqlText(text)})`).join(", ");
        const columns = isAlone ? "" : `, t as again, ${values}`;
        const query = `select t${columns} from (values ${rows}) v(t)`;
        await assertSame(query, options);
        await assertSame(query, { ...options, lineEnd: "lf", bom: false });
      }),
      { numRuns: 15 },
    );
  });

  it("quote what begins as a byte order mark does, as the row path", async () => {
    const texts =
      "chr(65279) as t, 'x' || chr(65279) as u, chr(65279) || 'y' as v, chr(65279 - 1) as w";
    for (const [query, expected] of [
      [`select ${texts}`, 't,u,v,w\n"\ufeff",x\ufeff,"\ufeffy",\ufefe\n'],
      ["select chr(65279) || 'y' as t", 't\n"\ufeffy"\n'],
    ] as const) {
      const { text } = await writeRecords({ url, query }, "csv");
      assert.equal(text, expected);
      assert.equal((await writeRecords({ url, query }, "csv", { apart: true })).text, expected);
    }
  });

  it("quote what is longer than 256 KiB, with the dialect's own quotes", async () => {
    for (const options of Object.values(usualDialects).slice(0, 3)) {
      const query = `select g, repeat('x', 262145) as t, decode(repeat('ab', 140000), 'hex') as b from generate_series(1, 3) g`;
      const { text } = await writeRecords({ url, query }, "csv", { dialect: options });
      const { quote, delimiter } = dialectOf(options);
      assert.ok(text.includes(`${delimiter}${quote}${"x".repeat(262_145)}${quote}${delimiter}`));
      const plain = await writeRecords({ url, query }, "csv", { dialect: options, apart: true });
      assert.equal(text, plain.text);
    }
  });
});
