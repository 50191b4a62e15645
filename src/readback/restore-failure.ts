/** Why records did not reach the place they are restored to, in the words of our codes. */
import { PipelineError, systemCode } from "../errors.ts";
import { notesName } from "../stages/destinations/table-notes.ts";

/** What lies at `path` would have been overwritten. */
export function taken(path: string): PipelineError {
  return new PipelineError(
    "config-invalid",
    `${path} exists; move it away, it is never overwritten`,
  );
}

/** All pages of an export are noted as rows of the table, and whoever calls again may miss some of these rows. */
export const restoredBefore = (run: string, table: string, folder: string): PipelineError =>
  new PipelineError(
    "destination-refused",
    `restore: run ${run} was restored into ${table} already; nothing was written. To write it again, delete the rows that are left of it, ` +
      `and the notes of this table alone: rows of ${notesName} beside it with its \`target\` and a name that begins with ${folder}/ (docs/rows.md has the statement)`,
    { details: { run } },
  );

/** The error to throw in place of one that writing to `where` threw. */
export function writeFailure(cause: unknown, where: string): unknown {
  const code = systemCode(cause);
  if (cause instanceof PipelineError || code === undefined || code === "ABORT_ERR") return cause;
  if (code === "ERR_ACCESS_DENIED") {
    return new PipelineError(
      "config-invalid",
      `restore: Node's permission model forbids writing to ${where} durably; restore to a stream, or run without --permission`,
      { cause },
    );
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new PipelineError("disk-full", `restore: no room left in ${where}`, { cause });
  }
  return new PipelineError("destination-failed", `restore: writing to ${where} failed (${code})`, {
    cause,
  });
}
