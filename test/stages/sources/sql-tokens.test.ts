import assert from "node:assert/strict";
import { seededRandom } from "../../../prove/seeded.ts";
import { withoutLiterals } from "../../../src/stages/queries/without-literals.ts";
import { dropSemicolons } from "../../../src/stages/sources/postgres-types.ts";
import { tokenizeSql } from "../../../src/stages/sources/sql-tokens.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

type Random = () => number;
const pick = <T>(items: readonly T[], random: Random): T =>
  items[Math.floor(random() * items.length)]!;
const many = (most: number, make: () => string, random: Random): string =>
  Array.from({ length: Math.floor(random() * (most + 1)) }, make).join("");

const odd = ["'", "''", '"', "\\", "--", "/*", "*/", "$", "$1", ";", "e", "\n", " ", "é", "…", "_"];
/** What nobody may see, among everything that could mislead a reader. */
const content = (random: Random, without = /(?!)/g): string => {
  const some = () => many(4, () => pick(odd, random), random);
  return `${some()}patient${some()}`.replaceAll(without, "");
};

/** Each gives SQL of a text, and the text. */
const literals: readonly ((random: Random) => readonly [sql: string, value: string])[] = [
  (random) => {
    const value = content(random);
    return [`'${value.replaceAll("'", "''")}'`, value];
  },
  (random) => {
    const value = content(random);
    const write = (text: string) =>
      text
        .replaceAll("\\", "\\\\")
        .replaceAll("'", () => pick(["''", String.raw`\'`, String.raw`\x27`], random));
    const at = Math.floor(random() * value.length);
    const gap = pick(["\n", " \n ", " -- it's\n", "--\n--'\n\t"], random);
    const parts = [value.slice(0, at), value.slice(at)].map((part) => `'${write(part)}'`);
    return [`${pick(["e", "E"], random)}${parts.join(gap)}`, value];
  },
  (random) => {
    const tag = pick(["$$", "$x$", "$é_1$"], random);
    const value = content(random, /\$/g);
    return [tag + value + tag, value];
  },
];

const comment = (random: Random, depth: number): string =>
  depth === 0
    ? pick(["patient' \" $$ --", "e'", "**", "/ *"], random)
    : `/*${comment(random, depth - 1)} patient ${random() < 0.4 ? comment(random, depth - 1) : ""}*/`;

const names = ["like", "E", "n", "code", "x", "t_3", "é", "a$b$", "u", '"it\'s /* -- ""x"', '"$$"'];
const signs = ["=", " || ", "(", ")", ",", "::", " - ", " / ", "[", "]", " @> ", "$12 "];

interface Made {
  readonly sql: string;
  readonly kept: readonly string[];
}

function makeStatement(random: Random): Made {
  let sql = "";
  const kept: string[] = [];
  // Names end where something else begins, and two texts side by side are one.
  const gap = () =>
    pick(
      [" ", "\n", "\t", ` ${comment(random, 1 + Math.floor(random() * 4))} `, " --patient\n"],
      random,
    );
  for (let left = 12; left > 0; left -= 1) {
    const dice = random();
    if (dice < 0.35) {
      const name = pick(names, random);
      kept.push(name);
      // Straight behind a name of more than one letter a quote may stand.
      const isOne = /^["a-zA-Z]$|é|\$/.test(name);
      sql += gap() + name + (isOne || random() < 0.5 ? gap() : `'patient\\'${gap()},`);
    } else if (dice < 0.65) sql += `${gap()}${pick(literals, random)(random)[0]}${gap()},`;
    else if (dice < 0.8)
      sql +=
        pick(signs, random) + pick(["4711", "47.11", "4.7e-11", "0x4711", "4711_4711"], random);
    else sql += gap() + pick(signs, random) + gap();
  }
  return { sql, kept };
}

describe("SQL tokens", () => {
  it("hide every literal and comment, and nothing else, of statements made at random", () => {
    const seed = Math.floor(Math.random() * 1e9);
    const random = seededRandom(seed);
    for (let trial = 0; trial < 2000; trial += 1) {
      const { sql, kept } = makeStatement(random);
      const replay = `seed ${seed}, trial ${trial}: ${sql}`;
      const tokens = tokenizeSql(sql);
      assert.equal(tokens.map(({ text }) => text).join(""), sql, replay);
      const shown = withoutLiterals(sql);
      assert.doesNotMatch(shown, /patient|47|11/, replay);
      const found = tokens.flatMap(({ kind, text }) => (kind === "name" ? [text] : []));
      assert.deepEqual(found, kept, replay);
      for (const name of kept) assert(shown.includes(name), replay);
      assert.equal(dropSemicolons(`${sql}x ; -- ;`), `${sql}x   -- ;`, replay);
    }
  });

  it("are those of the server: what it takes for one text is one token", async () => {
    const { url } = await sharedPostgres();
    const seed = Math.floor(Math.random() * 1e9);
    const random = seededRandom(seed);
    const made = Array.from({ length: 300 }, () => pick(literals, random)(random));
    const query = `select ${made.map(([sql]) => `${comment(random, 1 + Math.floor(random() * 4))}${sql}`).join(",\n")}`;
    const [row] = await runSql(url, query);
    assert.deepEqual(
      row,
      made.map(([, value]) => value),
    );
    const texts = tokenizeSql(query).filter(({ kind }) => kind === "text");
    assert.deepEqual(
      texts.map(({ text }) => text),
      made.map(([sql]) => sql),
      `seed ${seed}`,
    );
  });

  it("know a name from a text's prefix, and a nested comment's end", () => {
    const shown = (sql: string) => withoutLiterals(sql);
    assert.equal(
      shown(String.raw`x like'\' and name = 'Smith' and mrn = 'M123'`),
      "x like… and name = … and mrn = …",
    );
    assert.equal(shown("select /* a /* b */ patient Smith 123 */ 1"), "select … …");
    const deep = 10_000;
    assert.equal(shown(`a ${"/* Smith ".repeat(deep)}${"*/".repeat(deep)} b`), "a … b");
    assert.equal(shown("select 1e'Smith'"), "select ……");
  });

  it("hide all behind what has no end", () => {
    for (const open of [
      "'Smith",
      "e'Smith\\' x",
      '"Smith',
      "$x$ Smith $y$",
      "/* /* */ Smith",
      "\\",
    ])
      assert.equal(withoutLiterals(`select ${open} Smith`), "select …");
  });

  it("are read as without `standard_conforming_strings`, or as SQLite's, where only that has an end", () => {
    assert.equal(withoutLiterals(String.raw`select 'it\'s Smith', a`), "select …, a");
    assert.equal(
      withoutLiterals(String.raw`select 'it\'s Smith' || 'it\'s Smith', a`),
      "select … || …, a",
    );
    assert.equal(dropSemicolons("/* a /* b */ select 1;"), "/* a /* b */ select 1 ");
    assert.equal(
      dropSemicolons("select [it's], `it's; x` from t;"),
      "select [it's], `it's; x` from t ",
    );
  });
});
