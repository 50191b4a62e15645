/** Whether each stage takes what the one before gives; said in words where it does not. */
import type { Kind } from "../stages/nouns.ts";

export interface Link {
  readonly name: string;
  readonly takes: Kind;
  readonly gives: Kind;
}

export interface Misfit {
  /** Index of the stage that does not fit; the number of stages when the end is missing. */
  readonly index: number;
  readonly problem: string;
}

/** The stages of the sentence, by what they take: what to add when a kind is not taken on. */
const stageThatTakes: Partial<Record<Kind, string>> = {
  rows: "serialize",
  records: "chunk",
  pages: "compress",
  frames: "encrypt",
  sealed: "spool",
  durable: "upload",
};

/** What the sentence leads through, in order. */
const order: readonly Kind[] = [
  "rows",
  "records",
  "pages",
  "frames",
  "sealed",
  "durable",
  "receipts",
];

/** The first misfit, or undefined when the stages lead from a source to `upload`. */
export function findMisfit(links: readonly Link[]): Misfit | undefined {
  let before: Kind = "nothing";
  for (const [index, { name, takes, gives }] of links.entries()) {
    if (takes !== before) return { index, problem: describe(name, takes, before) };
    before = gives;
  }
  if (before === "receipts") return undefined;
  return {
    index: links.length,
    problem: `the last stage gives ${before}; ${missing(before)} must follow`,
  };
}

function describe(name: string, takes: Kind, before: Kind): string {
  if (takes === "nothing") return `${name} is a source and can only be the first stage`;
  if (before === "nothing") return `${name} takes ${takes}, but the first stage must be a source`;
  if (order.indexOf(takes) < order.indexOf(before))
    return `${name} takes ${takes}, but the stage before it gives ${before} already; leave it out, or put it where there are ${takes}`;
  return `${name} takes ${takes}, but the stage before it gives ${before}; ${missing(before)} must come between`;
}

function missing(before: Kind): string {
  const name = stageThatTakes[before] ?? "another stage";
  return name === "encrypt"
    ? "`encrypt` (public keys, a passphrase, or the word none)"
    : `\`${name}\``;
}
