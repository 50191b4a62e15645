/** What `doctor` asks of a table that takes rows: is it there, is its key unique, may this user write it. */
import { PipelineError } from "../../errors.ts";
import { fault, good, type Finding } from "../finding.ts";
import { openSession } from "../sources/postgres-session.ts";
import type { ProbeDestination, ProbeOptions, TableOptions } from "./destination.ts";
import { asDestination } from "./postgres-connection.ts";
import { describeTable, findMissingRights } from "./postgres-table.ts";
import { TryAgain } from "./retry.ts";
import { notesName } from "./table-notes.ts";

const connectMillis = 10_000;

export const probeTable: ProbeDestination = async function* (url, asked) {
  const { rows: wanted } = asked;
  if (!wanted) return;
  try {
    yield* look(url, wanted, asked);
  } catch (error) {
    const said = asDestination(error);
    throw said instanceof TryAgain ? said.failure : said;
  }
};

async function* look(
  url: URL,
  wanted: TableOptions,
  { timeoutMillis, signal }: ProbeOptions,
): AsyncGenerator<Finding> {
  const options = { url: url.href, connectMillis, answerMillis: timeoutMillis };
  const session = await openSession(options, signal);
  try {
    const table = await describeTable(session, wanted);
    const { name, key } = table;
    yield good("table", key.length > 0 ? `${name}, rows replaced by ${key.join(", ")}` : name);
    const missing = await findMissingRights(session, table);
    if (missing.length > 0) {
      const refused = `this user may not ${missing.join(", ")} in ${name}; grant it`;
      yield fault("rights", new PipelineError("destination-refused", refused));
    }
    const { rows } = await session.ask(
      "select case when to_regclass($1) is null then has_schema_privilege((select relnamespace from pg_catalog.pg_class where oid = $2::oid), 'create') " +
        "else has_table_privilege(to_regclass($1), 'insert') and has_table_privilege(to_regclass($1), 'select') end",
      [`${table.schema}.${notesName}`, table.oid],
    );
    if (rows[0]?.[0] === "t") return;
    const refused = `this user may neither make nor fill ${table.schema}.${notesName}, where pages are noted; grant create on the schema, or make it and grant insert and select`;
    yield fault("notes", new PipelineError("destination-refused", refused));
  } finally {
    await session.close();
  }
}
