/**
 * Values out of files: JSON, NDJSON, CSV, tar archives and SQLite, each made at random and read by its source. The
 * references are others' readers and writers (Python's, and SQLite's own types as Python sees them), or what was written.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import type { RowBatch } from "../../src/stages/nouns.ts";
import { registry } from "../../src/stages/registry.ts";
import { collect, testContext } from "../../test/contract/stage-contract.ts";
import type { Chance } from "../fuzz/chance.ts";
import { jsonOf, nastyNames, nastyText } from "./samples.ts";

export interface Counts {
  compared: number;
}

const reference = join(import.meta.dirname, "reference.py");
const mostBytes = 256 * 2 ** 20;

function askPython(args: readonly string[], input = ""): string {
  return execFileSync("python3", [reference, ...args], { input, maxBuffer: mostBytes }).toString();
}

async function* none(): AsyncGenerator<never> {}

async function readRows(
  source: string,
  config: object,
): Promise<{ rows: unknown[]; names: string[] }> {
  const stage = registry.get(source)!;
  const items = stage.open(v.parse(stage.config, config), testContext(), none());
  const batches = (await collect(items as AsyncIterable<unknown>)) as RowBatch[];
  const names = batches.at(-1)!.columns.map(({ name }) => name);
  return { rows: batches.flatMap(({ rows }) => [...rows]), names };
}

type Kind = (
  folder: string,
  chance: Chance,
) => Promise<readonly [found: unknown, expected: unknown]>;

const blank = (chance: Chance) => chance.pick(["", "", " ", "\t", "\r\n", "\n  "]);

/** Unlike anything a server has: halves of pairs, escapes of all kinds, numbers of any length. */
function rowOf(chance: Chance): string {
  const odd = [
    '"\\ud800"',
    '"\\u0000\\u001F\\/"',
    "-0",
    "-0.0",
    "1E+2",
    "0.10",
    "12345678901234567890",
    "1e999",
  ];
  const members = nastyNames.slice(0, chance.below(6)).map((name) => {
    const value = chance.once(3) ? chance.pick(odd) : jsonOf(chance).replaceAll(/[\r\n]/g, " ");
    return `${JSON.stringify(name)} :${value}`;
  });
  return `{${members.join(",")}}`;
}

const rowCount = (chance: Chance) => chance.pick([0, 1, 3, 40, chance.once(5) ? 3000 : 2]);

const spelled = (rows: readonly unknown[]) =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join("");

const json: Kind = async (folder, chance) => {
  const path = join(folder, "rows.json");
  const rows = Array.from({ length: rowCount(chance) }, () => blank(chance) + rowOf(chance));
  await writeFile(
    path,
    `${blank(chance)}[${rows.join(`${blank(chance)},`)}${blank(chance)}]${blank(chance)}`,
  );
  return [spelled((await readRows("json", { path })).rows), askPython(["json", path])];
};

const ndjson: Kind = async (folder, chance) => {
  const path = join(folder, "rows.ndjson");
  const end = chance.pick(["\n", "\r\n"]);
  const rows = Array.from({ length: rowCount(chance) }, () => rowOf(chance));
  await writeFile(path, rows.join(chance.once(3) ? `${end} ${end}` : end) + chance.pick(["", end]));
  return [spelled((await readRows("ndjson", { path })).rows), askPython(["ndjson", path])];
};

const csv: Kind = async (folder, chance) => {
  const path = join(folder, "rows.csv");
  const [delimiter, end] = [chance.pick([",", ";", "\t"]), chance.pick(["\n", "\r\n"])];
  const width = 1 + chance.below(5);
  const text = () => nastyText(chance).replaceAll("\ufeff", "");
  const cells = Array.from({ length: rowCount(chance) }, () =>
    Array.from({ length: width }, () => (chance.once(4) ? null : text())),
  );
  const names = nastyNames.slice(0, width);
  const special = /["\r\n,;\t]/;
  const field = (cell: string | null) => {
    if (cell === null) return "";
    const isQuoted = cell === "" || special.test(cell) || chance.once(5);
    return isQuoted ? `"${cell.replaceAll('"', '""')}"` : cell;
  };
  // A lone field that is empty is a line without anything, which no reader tells from none.
  const rows = cells.map((row) => (width === 1 ? row.map((cell) => cell ?? "") : row));
  const lines = [names, ...rows].map((row) => row.map(field).join(delimiter));
  await writeFile(
    path,
    chance.pick(["", "\ufeff"]) + lines.join(end) + (chance.once(2) ? end : ""),
  );
  const read = await readRows("csv", { path, delimiter });
  return [
    [read.names, ...read.rows],
    [names, ...rows],
  ];
};

const tar: Kind = async (folder, chance) => {
  const path = join(folder, "rows.tar");
  const form = chance.pick(["pax", "gnu", "ustar"]);
  const nameOf = (i: number) =>
    form === "ustar"
      ? `d${i}/${"n".repeat(chance.below(90))}`
      : `${chance.pick(["é測", "a b", "x".repeat(150), "🩺/y"])}${i}`;
  const entries = Array.from({ length: chance.below(12) }, (_, i) => [
    nameOf(i),
    chance.bytes(chance.pick([0, 1, 511, 512, 513, 5000])).toString("base64"),
  ]);
  askPython(["tar", path, form], JSON.stringify(entries));
  const { rows } = await readRows("tar", { path, format: "content" });
  return [
    rows.map((row) => [(row as { name: string }).name, (row as { content: string }).content]),
    entries,
  ];
};

/** A cell as Python sees it, so that integers, floats, texts and blobs are told apart. */
function cellOf(
  cell: unknown,
  [kind, text]: readonly [string, string],
  isWide: boolean,
): readonly [string, string] {
  if (cell === null) return ["null", ""];
  if (kind === "int") return [kind, `${cell as number | bigint}`];
  if (kind === "float") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(Number(cell));
    return [kind, bytes.toString("hex")];
  }
  // Text that is no UTF-8 comes with marks in its place, and a warning.
  const expected = kind === "text" ? Buffer.from(text, "hex").toString("utf8") : undefined;
  const isText = cell === expected || (isWide && cell === expected?.replace(/^\ufeff/, ""));
  if (isText || (kind === "blob" && cell === `\\x${text}`)) return [kind, text];
  return [typeof cell, JSON.stringify(cell)];
}

const sqlite: Kind = async (folder, chance) => {
  const path = join(folder, "rows.db");
  const database = new DatabaseSync(path);
  const types = ["integer", "real", "text", "blob", "", "numeric", "boolean", "datetime"];
  const columns = Array.from(
    { length: 1 + chance.below(8) },
    (_, i) => `c${i} ${chance.pick(types)}`,
  );
  // Of long texts there, some versions of SQLite take a U+FEFF at the start for a byte order mark, and drop it.
  const isWide = chance.once(3);
  if (isWide) database.exec(`pragma encoding = '${chance.pick(["UTF-16le", "UTF-16be"])}'`);
  database.exec(`create table t (${columns.join(", ")})`);
  const integers = [0n, -1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
  const reals = [0.1, -0, 1e22, 5e-324, 1.7976931348623157e308, Infinity, -Infinity, 1e15, 123];
  const valueOf = () => {
    const kind = chance.below(6);
    if (kind === 0) return null;
    if (kind === 1) return chance.pick(integers);
    if (kind === 2) return chance.pick(reals);
    if (kind === 3) return chance.bytes(chance.below(40));
    return kind === 4 ? `a\0b${nastyText(chance)}` : nastyText(chance);
  };
  const insert = database.prepare(`insert into t values (${columns.map(() => "?").join(", ")})`);
  for (let left = rowCount(chance); left > 0; left -= 1) insert.run(...columns.map(valueOf));
  const isCast =
    chance.once(4) && database.prepare("pragma encoding").get()?.["encoding"] === "UTF-8";
  if (isCast) database.exec("insert into t (c0) values (cast(x'ff41c3' as text))");
  database.close();
  const query = "select *, c0 as c0, rowid from t order by rowid";
  const expected = askPython(["sqlite", path, query]).split("\n").slice(0, -1);
  const typed = expected.map((line) => JSON.parse(line) as (readonly [string, string])[]);
  const { rows } = await readRows("sqlite", { path, query });
  const found = rows.map((row, at) =>
    (row as unknown[]).map((cell, i) => cellOf(cell, typed[at]?.[i] ?? ["", ""], isWide)),
  );
  return [found, typed];
};

/** Without Python only what needs no other reader is left. */
export const hasPython = spawnSync("python3", ["--version"]).status === 0;

const kinds: Readonly<Record<string, Kind>> = {
  csv,
  ...(hasPython && { json, ndjson, tar, sqlite }),
};

/** One file of each kind. */
export async function proveFiles(chance: Chance, counts: Counts): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-values-"));
  const failures: string[] = [];
  try {
    for (const [name, kind] of Object.entries(kinds)) {
      const [found, expected] = await kind(folder, chance);
      if (isDeepStrictEqual(found, expected)) counts.compared += 1;
      else failures.push(`${name}: ${firstDifference(found, expected)}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return failures;
}

function firstDifference(found: unknown, expected: unknown): string {
  const [one, other] = [found, expected].map((value) =>
    typeof value === "string" ? value : JSON.stringify(value),
  ) as [string, string];
  let at = 0;
  while (at < one.length && one[at] === other[at]) at += 1;
  const near = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 60), at + 60));
  return `at ${at}, expected ${near(other)} but found ${near(one)}`;
}
