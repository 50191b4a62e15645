/** The nightly job as it is written first: a question for every name, a transaction for every object. */
import { Client } from "pg";
import { summarize as source } from "./nightly-tables.ts";

type Fields = Record<string, unknown>;
type Summarize = (object: Fields, results: readonly Fields[]) => Fields;

const [url] = process.argv.slice(2);
const imported: unknown = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const summarize = (imported as { readonly default: Summarize }).default;
const client = new Client({ connectionString: url! });
await client.connect();

const ask = async (text: string, ...params: unknown[]): Promise<readonly Fields[]> =>
  (await client.query<Fields>({ text, values: params })).rows;
const askOne = async (text: string, param: unknown): Promise<Fields> =>
  (await ask(text, param))[0]!;

for (const object of await ask("select id, patient from object order by id")) {
  const results: Fields[] = [];
  const items = "select test, value from item where object = $1 order by position";
  for (const item of await ask(items, object["id"])) {
    const test = await askOne("select term, unit from test where code = $1", item["test"]);
    const term = await askOne("select display from term where code = $1", test["term"]);
    const unit = await askOne("select factor, term from unit where name = $1", test["unit"]);
    const unitTerm = await askOne("select display from term where code = $1", unit["term"]);
    results.push({ ...item, ...term, ...unit, unit_display: unitTerm["display"] });
  }
  const { id, summary, total } = summarize(object, results);
  await ask("update object set summary = $2, total = $3 where id = $1", id, summary, total);
}
await client.end();
