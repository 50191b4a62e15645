/** The list as a page for readers, with what the last run of it found. */
import { mutations } from "./list.ts";
import type { Planted } from "./mutation.ts";

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

export function mutationsPage(results: readonly Planted[]): string {
  const caughtOf = new Map(results.map(({ mutation, caught }) => [mutation, caught]));
  const caught = results.filter((result) => result.caught !== undefined).length;
  const parts = Object.entries(mutations).map(([title, list]) => {
    const rows = list.map((mutation) => {
      const found = caughtOf.get(mutation) ?? "**survived**";
      return `| ${cell(mutation.bug)} | \`${mutation.file}\` | ${cell(mutation.why)} | ${cell(found)} |`;
    });
    return [`## ${title}`, "", "| bug | planted in | what would come of it | noticed by |"]
      .concat("| --- | --- | --- | --- |", rows, "")
      .join("\n");
  });
  return `<!-- Written by \`npm run prove:mutations\`; do not edit. -->

# Planted bugs

Tests that never failed prove little. So bugs are planted on purpose, one at a time, in a copy of the sources, and the tests
named for each must fail. \`npm run prove:mutations\` does it again; the list is in [\`prove/mutations/\`](../prove/mutations).
A place that has changed since makes the list an error, so that it cannot rot.

**${results.length} planted, ${caught} caught.**

${parts.join("\n")}`;
}
