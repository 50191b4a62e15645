/**
 * The file of a database while it is read. DuckDB locks it against programs that write, and whoever does not ask for locks is found by
 * what the file system says of it before and after.
 */
import type { Consistency } from "../nouns.ts";
import { formatNanos, openRegular, requireSame, statNow } from "./input-file.ts";

export interface DatabaseFile {
  /** @throws PipelineError `source-changed` when somebody wrote to the file or replaced it */
  prove(): Promise<Consistency["proof"]>;
  /** After the engine: closing any descriptor of a file drops the locks that this process has on it. */
  close(): Promise<void>;
}

/** @throws PipelineError `input-missing`, `source-refused` */
export async function openDatabaseFile(path: string): Promise<DatabaseFile> {
  const handle = await openRegular(path);
  const before = await handle.stat({ bigint: true });
  return {
    async prove() {
      requireSame(path, before, await handle.stat({ bigint: true }));
      requireSame(path, before, await statNow(path));
      return { size: Number(before.size), mtime: formatNanos(before.mtimeNs) };
    },
    close: () => handle.close(),
  };
}
