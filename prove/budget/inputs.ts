/** The rows of a trial, where its source reads them: a file, or a table of their widths. */
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DatabaseSync } from "node:sqlite";
import { Client } from "pg";
import type { Rows, TextKind, Trial } from "./draw.ts";

/** A text of each kind: what is repeated, in JavaScript and in the server's words. */
const repeated: Readonly<Record<Exclude<TextKind, "digests">, string>> = {
  plain: "lorem ipsum dolor ",
  controls: "\u0001",
  quotes: '"\\',
  lines: "a\n",
  kanji: "日本語臨床",
};

function textOf(kind: TextKind, bytes: number, row: number): string {
  // As in the server, each row's own text compresses within itself alone.
  const piece = kind === "digests" ? digestLike(row) : repeated[kind];
  const times = Math.ceil(bytes / Buffer.byteLength(piece));
  return piece.repeat(times);
}

/** 32 letters that differ from row to row. */
function digestLike(row: number): string {
  return (BigInt(row + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n)
    .toString(16)
    .slice(-32)
    .padStart(32, "0");
}

/** Writes what the source of a trial reads; gives the source's stage. */
export async function writeInput(
  { source, rows, batchBytes, maxRecord }: Trial,
  folder: string,
  databaseUrl: string,
): Promise<object> {
  const path = join(folder, `rows.${source}`);
  switch (source) {
    case "postgres":
    case "postgres-copy": {
      const query = await createWidths(databaseUrl, rows);
      const copies = source === "postgres-copy" && { format: "csv" };
      return { [source]: { url: databaseUrl, query, batch: batchBytes, ...copies } };
    }
    case "sqlite":
      writeSqlite(path, rows);
      return { sqlite: { path, query: "select * from rows order by id", maxRecord } };
    default:
      await pipeline(Readable.from(linesOf(source, rows)), createWriteStream(path));
      return { [source]: { path, maxRecord } };
  }
}

function* linesOf(source: "ndjson" | "csv" | "json", { text, widths }: Rows): Generator<string> {
  if (source === "csv") yield "id,body\n";
  if (source === "json") yield "[";
  for (const [id, width] of widths.entries()) {
    const body = textOf(text, width, id);
    if (source === "csv") yield `${id},"${body.replaceAll('"', '""')}"\n`;
    else if (source === "ndjson") yield `${JSON.stringify({ id, body })}\n`;
    else yield (id > 0 ? "," : "") + JSON.stringify({ id, body });
  }
  if (source === "json") yield "]";
}

function writeSqlite(path: string, { text, widths }: Rows): void {
  const database = new DatabaseSync(path);
  database.exec("create table rows (id integer primary key, body text); begin");
  const insert = database.prepare("insert into rows values (?, ?)");
  for (const [id, width] of widths.entries()) insert.run(id, textOf(text, width, id));
  database.exec("commit");
  database.close();
}

/** A table of widths, and the query that makes its texts. */
async function createWidths(url: string, { text, widths }: Rows): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("drop table if exists budget");
    await client.query("create table budget (id bigint primary key, width int)");
    await client.query(
      "insert into budget select place - 1, width from unnest($1::int[]) with ordinality as t (width, place)",
      [widths],
    );
    await client.query("analyze budget");
  } finally {
    await client.end();
  }
  const piece =
    text === "digests" ? "md5(id::text)" : `convert_from('\\x${hexOf(repeated[text])}', 'UTF8')`;
  return `select id, repeat(${piece}, ceil(width::numeric / octet_length(${piece}))::int) as body from budget order by id`;
}

const hexOf = (text: string) => Buffer.from(text).toString("hex");
