/** A SQLite file as it is open, or opened anew after it failed: work on it is done one after another, and tried again. */
import { patience, persist } from "./retry.ts";
import { asDestination, openSqliteFile, type SqliteFile } from "./sqlite-file.ts";

export interface Connection {
  /** @throws PipelineError of a destination; the signal's reason */
  use<T>(work: (file: SqliteFile) => Promise<T>, signal: AbortSignal): Promise<T>;
  close(): Promise<void>;
}

/** Opens nothing yet. */
export function createConnection(path: string, lockMillis: number): Connection {
  let file: SqliteFile | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const drop = () => {
    file?.close();
    file = undefined;
  };
  return {
    use(work, signal) {
      const attempt = async () => {
        signal.throwIfAborted();
        try {
          file ??= await openSqliteFile(path, lockMillis, signal);
          return await work(file);
        } catch (error) {
          // Whatever state it is in, SQLite rolls back what was not committed.
          drop();
          signal.throwIfAborted();
          throw asDestination(error, path);
        }
      };
      const turn = last.then(() => persist(attempt, signal, patience));
      last = turn.catch(() => {});
      return turn;
    },
    async close() {
      await last;
      drop();
    },
  };
}
