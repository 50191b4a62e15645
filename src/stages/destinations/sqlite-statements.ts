/** Statements of a SQLite file, each prepared once: one that is let go weighs until garbage is collected, page after page. */
import type { DatabaseSync, StatementSync } from "node:sqlite";

const prepared = new WeakMap<DatabaseSync, Map<string, StatementSync>>();

/** The statement of this text; SQLite itself prepares it anew where the tables have changed. */
export function prepare(database: DatabaseSync, sql: string): StatementSync {
  let statements = prepared.get(database);
  if (!statements) prepared.set(database, (statements = new Map()));
  let statement = statements.get(sql);
  if (!statement) statements.set(sql, (statement = database.prepare(sql)));
  return statement;
}
