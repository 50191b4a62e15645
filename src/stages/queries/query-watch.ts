/**
 * Notices what a person would see in a log of statements: the same one asked again and again with another parameter each
 * time (N+1), and the same question asked twice.
 *
 * Statements are told without their literals, so that one with pasted values counts as one, and none is shown.
 */
import { createHash } from "node:crypto";
import { formatDuration } from "../atoms.ts";
import { withoutLiterals } from "./without-literals.ts";

/** What a run says of one statement that its own stages asked. */
export interface QueryStats {
  /** Its text with `…` for every literal. */
  readonly statement: string;
  readonly asked: number;
  /** Different sets of parameters, literals included; counting ends at 10,000. */
  readonly parameterSets: number;
  /** How often a question was asked that had been asked before. */
  readonly repeated: number;
  readonly seconds: number;
  /** The lookup that would ask once, where the statement is simple enough to tell. */
  readonly lookup?: { readonly query: string; readonly on: string };
}

export interface QueryWatch {
  /** Counts one answered question. */
  answered(sql: string, params: readonly unknown[], millis: number): void;
  stats(): readonly QueryStats[];
}

/** Enough to tell a loop from a handful of questions. */
const suspectAsked = 100;
const setsMost = 10_000;
const statementsMost = 1000;

interface Counts {
  asked: number;
  repeated: number;
  millis: number;
  readonly sets: Set<string>;
}

/** @param warn hears once of each statement that is asked in a loop */
export function watchQueries(
  warn: (message: string) => void,
  now: () => number = () => performance.now(),
): QueryWatch {
  const started = now();
  const statements = new Map<string, Counts>();
  const suspect = (statement: string, counts: Counts) => {
    const share = Math.round((100 * counts.millis) / Math.max(1, now() - started));
    const time = `${formatDuration(counts.millis)}, ${share} % of the time so far`;
    if (counts.sets.size > suspectAsked / 2) {
      const lookup = findLookup(statement);
      warn(
        `${JSON.stringify(statement)} was asked ${counts.asked} times with ${counts.sets.size} different parameters (${time}); ` +
          `a \`lookup\` asks once for many rows${lookup ? `: { query: ${lookup.query}, on: ${lookup.on} }` : ""}`,
      );
    } else {
      warn(
        `${JSON.stringify(statement)} was asked ${counts.asked} times, ${counts.repeated} of them with parameters it had been asked with before (${time}); ` +
          "ask once and keep the answer",
      );
    }
  };

  return {
    answered(sql, params, millis) {
      const statement = statementOf(sql);
      let counts = statements.get(statement);
      if (!counts) {
        if (statements.size >= statementsMost) return;
        counts = { asked: 0, repeated: 0, millis: 0, sets: new Set() };
        statements.set(statement, counts);
      }
      const set = digest(sql, params);
      if (counts.sets.has(set)) counts.repeated += 1;
      else if (counts.sets.size < setsMost) counts.sets.add(set);
      counts.asked += 1;
      counts.millis += millis;
      if (counts.asked === suspectAsked) suspect(statement, counts);
    },
    stats: () =>
      Array.from(statements, ([statement, { asked, repeated, millis, sets }]) => {
        const lookup = asked > 1 ? findLookup(statement) : undefined;
        return {
          statement,
          asked,
          parameterSets: sets.size,
          repeated,
          seconds: millis / 1000,
          ...(lookup && { lookup }),
        };
      }),
  };
}

/** Parameters may be data; what is kept of them tells only whether they are the same. */
const digest = (sql: string, params: readonly unknown[]): string =>
  createHash("sha256")
    .update(JSON.stringify([sql, params]))
    .digest("base64")
    .slice(0, 16);

/** On one line, so that a statement is the same however it is laid out. */
const statementOf = (sql: string): string => withoutLiterals(sql).replaceAll(/\s+/g, " ").trim();

/** One table, one key that is a parameter or a literal. */
const byKey = /^select (.+) from ([\w."]+) where (?:[\w"]+\.)?("?\w+"?) = (?:\$1|…)$/i;

function findLookup(statement: string): QueryStats["lookup"] {
  const [, columns, table, key] = byKey.exec(statement) ?? [];
  if (columns === undefined || table === undefined || key === undefined) return undefined;
  const names = columns.split(",").map((name) => name.trim());
  const all = names.includes("*") || names.includes(key) ? columns : `${key}, ${columns}`;
  return { query: `select ${all} from ${table}`, on: key.replaceAll('"', "") };
}
