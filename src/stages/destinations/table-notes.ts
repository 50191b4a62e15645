/**
 * What destinations that take rows say of their notes: beside the table, `spillway_objects` names what was stored, pages
 * by their digests, since they became rows of that table, and everything else with its bytes.
 */
import { PipelineError } from "../../errors.ts";
import type { ListedObject } from "./destination.ts";
import { folderSegmentsOf } from "./object-names.ts";

export const notesName = "spillway_objects";

/** The columns by which a table of notes is known as one. */
const noteColumns = ["name", "target", "bytes", "sha256", "content"];

/** @throws PipelineError `destination-refused` where the name of the notes is another table's */
export function requireNotes(notes: string, found: readonly string[] | undefined): void {
  const missing = noteColumns.filter((column) => !found?.includes(column));
  if (missing.length === 0) return;
  throw new PipelineError(
    "destination-refused",
    `${notes} is not ours (it lacks ${missing.join(", ")}); expected this name to be free for notes of what was stored`,
  );
}

/** A note that could be made twice would tell of no page that it was written before. */
export const repeatableNotes = (notes: string): PipelineError =>
  new PipelineError(
    "destination-refused",
    `${notes} has no unique index on name, target, so that a page could be noted, and written, twice; make one`,
  );

export const foreignObject = (name: string): PipelineError =>
  new PipelineError(
    "foreign-object",
    `${name} was written from other bytes at the destination; nothing was overwritten`,
    { details: { name } },
  );

/** What of the notes is looked up next: names that begin with `prefix`, behind `after`. */
export interface ListedPart {
  readonly prefix: string;
  readonly after: string;
}

/** Objects of a folder in the order of their names, some at a time: a long list is never held whole. */
export async function* listInParts(
  folder: string,
  look: (part: ListedPart) => Promise<readonly ListedObject[]>,
): AsyncGenerator<ListedObject> {
  const segments = folderSegmentsOf(folder);
  const prefix = segments.map((segment) => `${segment}/`).join("");
  for (let after = ""; ;) {
    const found = await look({ prefix, after });
    if (found.length === 0) return;
    yield* found;
    after = found.at(-1)!.name;
  }
}

/** Notes of rows that somebody has taken away would make every later attempt a success that writes nothing. */
export const emptiedTable = (page: string, table: string): PipelineError =>
  new PipelineError(
    "destination-refused",
    `${page} was written into ${table} before, which is empty now; to write it again, delete its notes from ${notesName}`,
  );

/** Rows that are only appended would lie there twice, once from each run. */
export const unfinishedRun = (run: string, table: string): PipelineError =>
  new PipelineError(
    "destination-refused",
    `rows of the unfinished run ${run} lie in ${table}, which has no \`key\` to replace them by; finish that run without --restart, ` +
      `or delete its rows and its notes in ${notesName}`,
  );

export const notNoted = (name: string): PipelineError =>
  new PipelineError("not-found", `${name} does not exist at the destination`, {
    details: { name },
  });

export const becameRows = (name: string): PipelineError =>
  new PipelineError(
    "destination-refused",
    `${name} became rows of a table; its bytes are not there to be read back`,
    { details: { name } },
  );

/** The folders of a page's pipeline and of its run, each with its slash. */
export function foldersOf(pageName: string): { readonly pipeline: string; readonly run: string } {
  const run = pageName.slice(0, pageName.lastIndexOf("/") + 1);
  return { pipeline: run.slice(0, run.indexOf("/") + 1), run };
}
