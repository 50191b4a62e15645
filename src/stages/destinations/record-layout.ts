/**
 * What all records of a page name, seen without reading them: where each is laid out as the first one, one regular expression
 * made of that one matches them all. V8 runs it natively, whatever compilers a lean process leaves out.
 *
 * It asks where values end and not what they are, which is right of JSON alone; whoever reads the records refuses what is none.
 */
const newline = 0x0a;

/** Records looked at as one text. A longer record is not looked at: matching holds a word for each of its escapes. */
const blockBytes = 64 * 1024;

/** Of a pattern: compiling a longer one takes longer than it spares. */
const mostPatternChars = 16 * 1024;

/** Deep enough for a FHIR resource in a column. */
const depth = 7;

// Whatever follows a piece of these cannot begin within it, so that a record that does not match fails at once.
const text = String.raw`"[^"\\]*(?:\\.[^"\\]*)*"`;
const flat = String.raw`${text}|[^",:{}[\]\s]+`;
const between = String.raw`[^"{}[\]]*`;
const nestedIn = (inner: string) =>
  String.raw`[[{]${between}(?:(?:${text}${inner})${between})*[\]}]`;
const nested = Array.from({ length: depth }).reduce<string>((inner) => `|${nestedIn(inner)}`, "");

/**
 * The names of every record, in this order, each once and with a value for those of the key; undefined where that is not
 * seen at a glance.
 */
export function namesAlike(
  records: Uint8Array,
  key: readonly string[],
): readonly string[] | undefined {
  const bytes = Buffer.from(records.buffer, records.byteOffset, records.length);
  const names = readFirst(bytes);
  if (!names || !key.every((name) => names.has(name))) return undefined;
  const pattern = patternOf(names, key);
  if (pattern.length > mostPatternChars) return undefined;
  const record = new RegExp(pattern, "y");
  for (let start = 0; start < bytes.length;) {
    const end = bytes.lastIndexOf(newline, start + blockBytes - 1) + 1;
    if (end <= start) return undefined;
    const block = bytes.toString("latin1", start, end);
    for (record.lastIndex = 0; record.lastIndex < block.length;)
      if (!record.test(block)) return undefined;
    start = end;
  }
  return [...names.keys()];
}

/** What the first record names and says. */
function readFirst(bytes: Buffer): ReadonlyMap<string, unknown> | undefined {
  const end = bytes.indexOf(newline);
  if (end < 0 || end > blockBytes) return undefined;
  try {
    const first = Object.entries(JSON.parse(bytes.toString("utf8", 0, end)) as object);
    return first.length > 0 ? new Map(first) : undefined;
  } catch {
    return undefined;
  }
}

/** Where the first record has nothing, others may have anything. */
function patternOf(names: ReadonlyMap<string, unknown>, key: readonly string[]): string {
  const members = [...names].map(([name, value]) => {
    const values = typeof value === "object" ? `${flat}${nested}` : flat;
    return `${patternOfName(name)}:${key.includes(name) ? "(?!null)" : ""}(?:${values})`;
  });
  return String.raw`\{${members.join(",")}\}\n`;
}

/** As its bytes are seen. */
const patternOfName = (name: string): string =>
  Buffer.from(JSON.stringify(name))
    .toString("latin1")
    .replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
