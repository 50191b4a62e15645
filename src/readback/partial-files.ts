/**
 * What a restore writes has a name of its own until the whole export has proven complete. A restore that is killed leaves it,
 * and nobody can tell it from one that is under way on another machine: it is named to the user, and never removed for them.
 */
import { randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

const partial = /^\..+\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.partial$/;

export const partialPath = (folder: string, name: string): string =>
  join(folder, `.${name}.${randomUUID()}.partial`);

/** Paths of what restores that are over, or under way, have in a folder; none where it cannot be read. */
export async function findPartials(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => partial.test(name)).map((name) => join(folder, name));
}
