/** What `doctor` asks of a SQLite file that takes rows: is the table there, is its key unique, may it be written. */
import { fault, good } from "../finding.ts";
import { PipelineError } from "../../errors.ts";
import type { ProbeDestination } from "./destination.ts";
import { TryAgain } from "./retry.ts";
import { asDestination, openSqliteFile } from "./sqlite-file.ts";
import { openNotes } from "./sqlite-notes.ts";
import { describeTable } from "./sqlite-table.ts";
import { pathOf } from "./sqlite.ts";

export const probeSqlite: ProbeDestination = async function* (url, asked) {
  const { rows: wanted, timeoutMillis, signal } = asked;
  if (!wanted) return;
  const path = pathOf(url);
  try {
    const file = await openSqliteFile(path, timeoutMillis, signal);
    try {
      const { name, key } = await file.read((open) => describeTable(open, wanted), signal);
      yield good("table", key.length > 0 ? `${name}, rows replaced by ${key.join(", ")}` : name);
      // As a page would, with all it takes to begin to write; then it is taken back.
      await file.rehearse(openNotes, signal);
      yield good("rights", `${path} can be written`);
    } finally {
      file.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    const said = asDestination(error, path);
    const failure = said instanceof TryAgain ? said.failure : said;
    if (!(failure instanceof PipelineError)) throw failure;
    yield fault("table", failure);
  }
};
