/** What `doctor` asks of a table that takes rows: is it there, is its key unique, may this user write it. */
import { PipelineError } from "../../errors.ts";
import { fault, good } from "../finding.ts";
import { openSession } from "../sources/postgres-session.ts";
import type { ProbeDestination } from "./destination.ts";
import { describeTable } from "./table-rows.ts";

const connectMillis = 10_000;

export const probeTable: ProbeDestination = async function* (url, asked) {
  const { postgres: wanted, timeoutMillis, signal } = asked;
  if (!wanted) return;
  const options = { url: url.href, connectMillis, answerMillis: timeoutMillis };
  const session = await openSession(options, signal);
  try {
    const { name, key } = await describeTable(session, wanted);
    yield good("table", key.length > 0 ? `${name}, rows replaced by ${key.join(", ")}` : name);
    const { rows } = await session.ask(
      "select has_table_privilege($1, 'insert') and ($2 = 0 or has_table_privilege($1, 'update'))",
      [name, String(key.length)],
    );
    if (rows[0]?.[0] === "t") return;
    const missing = new PipelineError(
      "destination-refused",
      `this user may not write ${name}; expected the right to insert${key.length > 0 ? " and to update" : ""}`,
    );
    yield fault("rights", missing);
  } finally {
    await session.close();
  }
};
