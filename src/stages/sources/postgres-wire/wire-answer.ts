/** A query as `pg` runs it: what it sends, and what it calls for the messages that are no rows. */
import type { Connection, Submittable } from "pg";
import { countOf } from "../postgres-cursor.ts";
import { bindMessage } from "./messages.ts";

export interface Query {
  readonly sql: string;
  readonly values: readonly (string | null)[];
  /** By column, whether the server sends its binary form; none where it sends no rows. */
  readonly isBinary: readonly boolean[];
}

/** Sends the query once `pg` is ready for it, and tells of its end; its rows go another way. */
export function createAnswer(
  { sql, values, isBinary }: Query,
  on: { onEnd: (stated: number | undefined) => void; onError: (error: unknown) => void },
): Submittable {
  let stated: number | undefined;
  return {
    submit(connection: Connection) {
      connection.parse({ name: "", text: sql, types: [] }, true);
      // `pg` knows one format for all columns.
      connection.stream.write(bindMessage(values, isBinary));
      connection.execute({ portal: "", rows: "0" }, true);
      connection.sync();
    },
    handleCommandComplete: ({ text }: { text: string }) => (stated = countOf(text)),
    handleEmptyQuery() {},
    handlePortalSuspended() {},
    handleError: on.onError,
    handleReadyForQuery: () => on.onEnd(stated),
  } as unknown as Submittable;
}
