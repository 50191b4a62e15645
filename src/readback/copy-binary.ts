/**
 * Where rows end in PostgreSQL's binary COPY format: after a header, each row is the number of its fields and then the
 * fields, each with its length before it; a length of -1 is NULL, a number of -1 the end of the file.
 * Source: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format).
 */
import type { RecordEnd, RecordScanner } from "./record-scanner.ts";

/** Signature and flags; the length of the header's extension follows. */
const headBytes = 15;
const noMoreRows = 0xffff;

/** What is being read: a number, or bytes to pass over. */
type Part = "head" | "extension length" | "extension" | "fields" | "length" | "value" | "end";

const numbers: ReadonlySet<Part> = new Set(["extension length", "fields", "length"]);

export function scanCopyBinary(): RecordScanner {
  let part: Part = "head";
  let left = headBytes;
  let number = 0;
  /** Of the row, and not yet passed. */
  let fields = 0;

  const begin = (next: Part, bytes: number): void => {
    [part, left, number] = [next, bytes, 0];
  };
  const goOn = (at: number, each: RecordEnd): void => {
    if (fields > 0) return begin("length", 4);
    each(at, false);
    begin("fields", 2);
  };
  const endPart = (at: number, each: RecordEnd): void => {
    if (part === "head") begin("extension length", 4);
    else if (part === "extension length") begin("extension", number);
    else if (part === "extension") begin("fields", 2);
    else if (part === "length") begin("value", Math.max(0, number));
    else if (part === "fields") {
      fields = number;
      if (fields === noMoreRows) begin("end", Number.POSITIVE_INFINITY);
      else goOn(at, each);
    } else {
      fields -= 1;
      goOn(at, each);
    }
  };
  return {
    get isInside() {
      return part === "length" || part === "value" || (part === "fields" && left < 2);
    },
    scan(bytes, each) {
      for (let at = 0; at < bytes.length;) {
        const passed = numbers.has(part) ? 1 : Math.min(left, bytes.length - at);
        // Signed, as lengths are.
        number = (number << 8) | bytes[at]!;
        at += passed;
        left -= passed;
        while (left === 0) endPart(at, each);
      }
    },
  };
}
