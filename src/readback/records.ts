/** Where records end in the bytes of a format, page after page, whatever page they began in. */
import type { Layers } from "../pipeline/manifest.ts";
import { copyDialect, type CsvDialect } from "../stages/formats/csv-dialect.ts";
import { scanCopyBinary } from "./copy-binary.ts";
import type { RecordScanner } from "./record-scanner.ts";

/** The scanner of a format; undefined for formats whose records we cannot tell apart. */
export function createScanner({
  extension,
  dialect = copyDialect,
}: Pick<Layers, "extension" | "dialect">): RecordScanner | undefined {
  // COPY's text format has no line break in a value either.
  if (extension === "ndjson" || extension === "pgtext") return scanLines();
  if (extension === "csv") return scanCsv(dialect);
  if (extension === "json") return scanArray();
  if (extension === "pgbinary") return scanCopyBinary();
  return undefined;
}

/** The texts of the records, and of a CSV header, that end in `content`. */
export function* splitRecords(scanner: RecordScanner, content: Uint8Array) {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  const ends: { readonly end: number; readonly isHeader: boolean }[] = [];
  scanner.scan(bytes, (end, isHeader) => ends.push({ end, isHeader }));
  let start = 0;
  for (const { end, isHeader } of ends) {
    yield { text: bytes.toString("utf8", start, end), isHeader };
    start = end;
  }
}

const newline = 10;
const quote = 34;
const backslash = 92;
const byteOrderMarkBytes = 3;

function scanLines(): RecordScanner {
  let last = newline;
  return {
    get isInside() {
      return last !== newline;
    },
    scan(bytes, each) {
      for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) {
        each(at + 1, false);
      }
      last = bytes.at(-1) ?? last;
    },
  };
}

/**
 * A newline inside quotes belongs to a field; a doubled quote closes and opens again, which comes to the same. Outside of
 * them it ends a record, whatever stands before it. A byte order mark lies in what comes first.
 */
function scanCsv(dialect: CsvDialect): RecordScanner {
  const quote = dialect.quote.charCodeAt(0);
  let quoted = false;
  let inHeader = dialect.header;
  let last = newline;
  let seen = 0;
  // Framing, which may stand alone.
  const markBytes = dialect.bom ? byteOrderMarkBytes : 0;
  return {
    get isInside() {
      return quoted || (last !== newline && seen > markBytes);
    },
    scan(bytes, each) {
      for (let at = 0; at < bytes.length; at += 1) {
        const byte = bytes[at];
        if (byte === quote) quoted = !quoted;
        else if (byte === newline && !quoted) {
          each(at + 1, inHeader);
          inHeader = false;
        }
      }
      last = bytes.at(-1) ?? last;
      seen += bytes.length;
    },
  };
}

/** Records are the objects directly inside the one array. */
function scanArray(): RecordScanner {
  let depth = 0;
  let quoted = false;
  let escaped = false;
  return {
    get isInside() {
      return depth > 1;
    },
    scan(bytes, each) {
      for (let at = 0; at < bytes.length; at += 1) {
        const byte = bytes[at];
        if (quoted) {
          if (escaped) escaped = false;
          else if (byte === backslash) escaped = true;
          else if (byte === quote) quoted = false;
        } else if (byte === quote) quoted = true;
        else if (byte === 0x7b || byte === 0x5b) depth += 1;
        else if (byte === 0x7d || byte === 0x5d) {
          depth -= 1;
          if (depth === 1 && byte === 0x7d) each(at + 1, false);
        }
      }
    },
  };
}
