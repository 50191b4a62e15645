/**
 * What was stored, noted beside the table, in the transaction that stores it: pages as names and digests, since they became
 * rows of that table; everything else with its bytes.
 */
import type { Session } from "../sources/postgres-session.ts";
import type { ListedObject } from "./destination.ts";
import { hasUniqueIndex, type Table } from "./postgres-table.ts";
import {
  becameRows,
  foldersOf,
  foreignObject,
  notNoted,
  notesName,
  repeatableNotes,
  requireNotes,
  type ListedPart,
} from "./table-notes.ts";
import type { WholeObject } from "./table.ts";

/** Pages are noted for their table; what is no page is noted for none. */
const noTable = "0";

const hex = (content: Uint8Array) => `\\x${Buffer.from(content).toString("hex")}`;

/**
 * Makes the table of notes where it is missing; gives its name.
 * @throws PipelineError `destination-refused` when another table has its name
 */
export async function openNotes(session: Session, { schema }: Table): Promise<string> {
  const notes = `${schema}.${notesName}`;
  const find = async () => {
    const { rows } = await session.ask(
      "select json_agg(attname) from pg_catalog.pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
      [notes],
    );
    return rows[0]?.[0] ? (JSON.parse(rows[0][0]) as string[]) : undefined;
  };
  let found = await find();
  if (!found) {
    await session.ask("begin");
    // Two at once would both find it missing.
    await session.ask(`select pg_advisory_xact_lock(hashtext('${notesName}'))`);
    await session.ask(
      `create table if not exists ${notes} (name text collate "C", target oid, bytes bigint not null, sha256 bytea not null, ` +
        "content bytea, stored_at timestamptz not null default now(), primary key (name, target))",
    );
    await session.ask("commit");
    found = await find();
  }
  requireNotes(notes, found);
  if (!(await hasUniqueIndex(session, notes, ["name", "target"]))) throw repeatableNotes(notes);
  return notes;
}

/**
 * Notes an object within the open transaction.
 * @returns whether it is new; one that was noted before is the same
 * @throws PipelineError `foreign-object` where other bytes were noted under its name
 */
export async function noteObject(
  session: Session,
  notes: string,
  { name, bytes, sha256 }: WholeObject,
  table: Table | undefined,
): Promise<boolean> {
  const target = table?.oid ?? noTable;
  const made = await session.ask(
    `insert into ${notes} (name, target, bytes, sha256, content) values ($1, $2, $3, $4, $5) on conflict do nothing returning 1`,
    [name, target, String(bytes.length), hex(sha256), table ? null : hex(bytes)],
  );
  if (made.rows.length > 0) return true;
  const found = await session.ask(`select sha256 from ${notes} where name = $1 and target = $2`, [
    name,
    target,
  ]);
  if (found.rows[0]?.[0] === hex(sha256)) return false;
  throw foreignObject(name);
}

/**
 * Another run of the pipeline whose rows lie in the table and whose manifest does not. From one run to the next the index is
 * asked for the first name behind all of its pages (`0` follows the slash), and behind the last run for none of another
 * pipeline: of each page it would take longer night by night.
 */
export async function findUnfinished(
  session: Session,
  notes: string,
  table: Table,
  pageName: string,
): Promise<string | undefined> {
  const { pipeline, run } = foldersOf(pageName);
  const first = (behind: string) =>
    `select min(name collate "C") from ${notes} where target = $1 and name collate "C" > ${behind} and name collate "C" < $3`;
  const { rows } = await session.ask(
    `with recursive runs(page) as (${first("$2")} union all ` +
      `select (${first("regexp_replace(runs.page, '/[^/]*$', '0')")}) from runs where runs.page is not null) ` +
      "select runs.page from runs where not starts_with(runs.page, $4) " +
      `and not exists (select from ${notes} where name = regexp_replace(runs.page, '[^/]*$', 'manifest.json') collate "C") limit 1`,
    [table.oid, pipeline, pipeline.replace(/\/$/, "0"), run],
  );
  return rows[0]?.[0]?.split("/").at(-2);
}

/** @throws PipelineError `not-found`; `destination-refused` for a page, which became rows */
export async function readNoted(
  session: Session,
  notes: string,
  name: string,
): Promise<Uint8Array> {
  const { rows } = await session.ask(
    `select encode(content, 'base64') from ${notes} where name = $1 order by target limit 1`,
    [name],
  );
  if (!rows[0]) throw notNoted(name);
  if (rows[0][0] !== null && rows[0][0] !== undefined) return Buffer.from(rows[0][0], "base64");
  throw becameRows(name);
}

/** Names that are looked up at once. */
const mostListed = 1000;

/** The next names behind one; of pages, those in this table. They are in the order of their bytes, as everywhere. */
export async function listNoted(
  session: Session,
  notes: string,
  table: Table,
  { prefix, after }: ListedPart,
): Promise<readonly ListedObject[]> {
  const { rows } = await session.ask(
    `select name, bytes from ${notes} where starts_with(name, $1) and name > $3 and target in ($2, ${noTable}) order by name limit ${mostListed}`,
    [prefix, table.oid, after],
  );
  return rows.map(([name, bytes]) => ({ name: name!, bytes: Number(bytes) }));
}
