/** What the terminal can show: colours, width, a line that is drawn again; and texts made safe and aligned for it. */
import { stripVTControlCharacters, styleText } from "node:util";
import type { Paint } from "./verb.ts";

type Stream = NodeJS.WriteStream;
type Style = Parameters<typeof styleText>[0];

const usualWidth = 100;
const widest = 160;

/** Colours for `stream`: by NO_COLOR, FORCE_COLOR and what the terminal can do. */
export function paintFor(stream: Stream): Paint {
  const paint = (style: Style) => (text: string) => styleText(style, text, { stream });
  return {
    width: Math.min(stream.columns || usualWidth, widest),
    bold: paint("bold"),
    dim: paint("dim"),
    red: paint("red"),
    green: paint("green"),
    yellow: paint("yellow"),
    cyan: paint("cyan"),
  };
}

/** Whether a line may be drawn over itself: a terminal with a person before it. */
export function isLive(stream: Stream, env: Readonly<Record<string, string | undefined>>): boolean {
  return stream.isTTY && !env["CI"] && env["TERM"] !== "dumb";
}

// Default emoji and East Asian wide letters take two columns (Unicode TR 11, the ranges that matter).
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const noWidth = /\p{Mark}|\p{Default_Ignorable_Code_Point}/u;

function letterWidth(letter: string): number {
  if (letter >= " " && letter <= "~") return 1;
  return noWidth.test(letter) ? 0 : wide.test(letter) ? 2 : 1;
}

/** Columns a text takes on a terminal, colours not counted. */
export function textWidth(text: string): number {
  let width = 0;
  for (const letter of stripVTControlCharacters(text)) width += letterWidth(letter);
  return width;
}

/** The text if it fits, else its beginning and `…`. Without colours. */
export function cut(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let kept = "";
  let used = 1;
  for (const letter of text) {
    used += letterWidth(letter);
    if (used > width) break;
    kept += letter;
  }
  return width < 1 ? "" : `${kept}…`;
}

/** Text from elsewhere, safe to print: control characters cannot move the cursor or change colours. */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
}

/** A whole number with separators: `1,234,567`. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

/** Things with their number: `1 row`, `1,234 rows`. */
export const formatCounted = (count: number, thing: string): string =>
  `${formatCount(count)} ${thing}${count === 1 ? "" : "s"}`;

export interface TableOptions {
  /** Columns whose texts stand on the right; all others on the left. */
  readonly right?: readonly number[];
  readonly indent?: number;
  /** Lines are cut at this width; as long as they are when absent. */
  readonly width?: number;
}

/** Rows as aligned lines. Cells may be coloured; where a line is too long its last cell is cut, then plain. */
export function alignColumns(
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string[] {
  const { right = [], indent = 2, width = Number.POSITIVE_INFINITY } = options;
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, textWidth(cell));
  }
  return rows.map((row) => {
    let line = " ".repeat(indent);
    for (const [column, cell] of row.entries()) {
      const isLast = column === row.length - 1;
      const room = width - textWidth(line);
      const shown = textWidth(cell) > room ? cut(stripVTControlCharacters(cell), room) : cell;
      const padding = " ".repeat(Math.max(0, widths[column]! - textWidth(shown)));
      if (right.includes(column)) line += padding + shown;
      else line += isLast ? shown : shown + padding;
      if (!isLast) line += "  ";
    }
    return line.trimEnd();
  });
}

/** A bar of `width` columns, `share` of it full. */
export function drawBar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const part = " ▏▎▍▌▋▊▉".charAt(eighths % 8);
  const full = "█".repeat(Math.floor(eighths / 8));
  return (full + (eighths % 8 === 0 ? "" : part)).padEnd(width);
}
