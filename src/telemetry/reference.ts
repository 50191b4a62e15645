/** The reference of everything telemetry says, as Markdown; made from the names themselves. */
import { attributes, metrics, spans } from "./names.ts";

/** Three tables: spans, metrics, attributes. */
export function telemetryReference(): string {
  return [
    "### Spans",
    table(
      ["span", "what it is"],
      Object.values(spans).map(({ name, sentence }) => [`\`${name}\``, sentence]),
    ),
    "### Metrics",
    table(
      ["metric", "instrument", "unit", "what it says"],
      Object.values(metrics).map(({ name, instrument, unit, sentence }) => [
        `\`${name}\``,
        instrument,
        `\`${unit}\``,
        sentence,
      ]),
    ),
    "### Attributes",
    table(
      ["attribute", "what it says"],
      Object.values(attributes).map(({ name, sentence }) => [`\`${name}\``, sentence]),
    ),
  ].join("\n\n");
}

/** Columns padded to one width, as the formatter of this repository would. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => cells[column]!.padEnd(width)).join(" | ")} |`;
  const rule = line(widths.map((width) => "-".repeat(width)));
  return [line(head), rule, ...rows.map(line)].join("\n");
}
