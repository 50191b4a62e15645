/**
 * What one top-level member of each NDJSON record says, told while its bytes pass: nothing is parsed but that value, and
 * nothing held but its text or a name that may be its own, whatever page it began in.
 */
import { PipelineError } from "../errors.ts";

/** A string's letters, a number or a word as it is written; empty for all that is too long or nested, null for `null` or none. */
export type MemberText = string | null;

const [quote, backslash, comma, colon, newline] = [0x22, 0x5c, 0x2c, 0x3a, 0x0a];
const [openObject, closeObject, openArray, closeArray] = [0x7b, 0x7d, 0x5b, 0x5d];
const space = 0x20;

/** Of a name or a value, as it is written. */
const mostBytes = 4096;

/** A string is read byte by byte so far, and then passed in runs of at most so many bytes. */
const nearBytes = 64;
const runBytes = 4096;

/** Where a byte outside of strings stands; `inValue` holds for all that lies in the value. */
const [before, atName, inName, inValue, behind] = [0, 1, 2, 3, 4];

export class MemberScanner {
  readonly #member: string;
  /** The name as it is usually written: what follows are bytes, one a letter. */
  readonly #usual: string;
  #place = before;
  /** Brackets open within the value. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The string under way has an escape. */
  #hasEscape = false;
  /** The value under way is the member's. */
  #isOurs = false;
  /** From where the text that is kept lies in the bytes; -1 where none is. */
  #from = -1;
  /** Of that text, what came with the bytes before. */
  #kept = "";
  /** The text that was taken last goes on beyond what is kept of one, be it in spaces. */
  #isCut = false;
  #found: MemberText | undefined;
  /** A line is under way, be it of spaces alone. */
  #isWithin = false;
  #records = 0;

  constructor(member: string) {
    this.#member = member;
    this.#usual = bytesOf(JSON.stringify(member));
  }

  /** Of the record under way; undefined until it has come. */
  get found(): MemberText | undefined {
    return this.#found;
  }

  /** The number of the record under way, from 1. */
  get record(): number {
    return this.#records + 1;
  }

  /**
   * Calls `each` with the offset behind each record that ends in `bytes`.
   * @throws PipelineError `config-invalid` for a record that has the member twice, `integrity-failed` for one that is no object
   */
  scan(bytes: Uint8Array, each: (end: number, text: MemberText) => void): void {
    // Texts are taken out of it without a copy.
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < buffer.length;) {
      const end = buffer.indexOf(newline, at);
      this.#isWithin = end < 0;
      this.#walk(buffer, at, end < 0 ? buffer.length : end);
      if (end < 0) return;
      if (this.#place !== behind) throw this.#malformed();
      at = end + 1;
      each(at, this.#found ?? null);
      this.#begin();
    }
  }

  /** @throws PipelineError `integrity-failed` where bytes came after the last line's end */
  finish(): void {
    if (this.#isWithin) throw this.#malformed();
  }

  #begin(): void {
    this.#records += 1;
    this.#place = before;
    this.#found = undefined;
  }

  /** Part of a record, up to its line's end or to the last byte. */
  #walk(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += 1) {
      if (this.#inString) {
        at = this.#passString(bytes, at, end);
        continue;
      }
      const byte = bytes[at]!;
      if (byte === quote) this.#openString(at);
      else if (byte > space || !isSpace(byte)) this.#mark(byte, bytes, at);
    }
    if (this.#from < 0) return;
    this.#kept = this.#taken(bytes, end);
    this.#from = 0;
  }

  #openString(at: number): void {
    if (this.#place === atName) {
      this.#place = inName;
      this.#from = at;
      this.#hasEscape = false;
    } else if (this.#place !== inValue) throw this.#malformed();
    this.#inString = true;
  }

  /** To the quote that ends the string, or to the end. */
  #passString(bytes: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#escaped) at += 1;
    this.#escaped = false;
    // Most strings are short; in long ones whole runs are passed at once.
    for (let near = at + nearBytes; at < end; at += 1) {
      if (at >= near) {
        at = behindPlain(bytes, at, end);
        near = at + nearBytes;
        if (at === end) return end;
      }
      const byte = bytes[at];
      if (byte === backslash) {
        this.#hasEscape = true;
        at += 1;
      } else if (byte === quote) {
        this.#inString = false;
        return at;
      }
    }
    this.#escaped = at > end;
    return end;
  }

  /** A byte outside of strings that is neither a quote nor space. */
  #mark(byte: number, bytes: Buffer, at: number): void {
    if (this.#place === inValue) return this.#markValue(byte, bytes, at);
    if (byte === openObject && this.#place === before) this.#place = atName;
    else if (byte === closeObject && this.#place === atName) this.#place = behind;
    else if (byte === colon && this.#place === inName) this.#endName(bytes, at);
    else throw this.#malformed();
  }

  #markValue(byte: number, bytes: Buffer, at: number): void {
    if (byte === openObject || byte === openArray) this.#depth += 1;
    else if (this.#depth > 0) {
      if (byte === closeObject || byte === closeArray) this.#depth -= 1;
    } else if (byte === comma || byte === closeObject) {
      if (this.#isOurs) this.#found = this.#read(this.#take(bytes, at));
      this.#isOurs = false;
      this.#place = byte === comma ? atName : behind;
    } else if (byte === closeArray || byte === colon) throw this.#malformed();
  }

  #endName(bytes: Buffer, at: number): void {
    const name = this.#take(bytes, at);
    this.#place = inValue;
    if (name !== this.#usual && !(this.#hasEscape && this.#parse(name) === this.#member)) return;
    if (this.#found !== undefined) throw twice(this.record, this.#member);
    this.#isOurs = true;
    this.#from = at + 1;
  }

  /** The text that was kept, up to `end`. */
  #take(bytes: Buffer, end: number): string {
    const text = this.#taken(bytes, end);
    this.#isCut = text.length > mostBytes;
    this.#from = -1;
    this.#kept = "";
    return text.trim();
  }

  #taken(bytes: Buffer, end: number): string {
    const most = this.#from + mostBytes + 1 - this.#kept.length;
    return this.#kept + bytes.toString("latin1", this.#from, Math.min(end, most));
  }

  #read(text: string): MemberText {
    if (text === "null") return null;
    if (text.length > mostBytes || /^[[{]/.test(text)) return "";
    const value = this.#parse(text);
    if (value === undefined) return "";
    return typeof value === "string" ? value : text;
  }

  /** What JSON says with bytes; undefined where too few of them were kept. */
  #parse(text: string): unknown {
    try {
      return JSON.parse(Buffer.from(text, "latin1").toString());
    } catch {
      if (this.#isCut) return undefined;
      throw this.#malformed();
    }
  }

  #malformed(): PipelineError {
    return new PipelineError(
      "integrity-failed",
      `record ${this.record} is no JSON object on one line; the pages are authentic, so the exporter wrote it so`,
    );
  }
}

const bytesOf = (text: string): string => Buffer.from(text).toString("latin1");

/**
 * Behind the bytes of a run from `at` on that are neither a quote nor a backslash. One may be near and the other far, so
 * neither is looked for any farther: whoever asks again would have all of that looked through again.
 */
function behindPlain(bytes: Buffer, at: number, end: number): number {
  const run = bytes.subarray(at, Math.min(at + runBytes, end));
  const first = run.indexOf(backslash);
  const plain = first < 0 ? run : run.subarray(0, first);
  const last = plain.indexOf(quote);
  return at + (last < 0 ? plain.length : last);
}

const isSpace = (byte: number): boolean => byte === space || byte === 0x09 || byte === 0x0d;

const twice = (record: number, member: string) =>
  new PipelineError(
    "config-invalid",
    `restore: record ${record} has ${member} twice, and which is meant nobody could say; restore without \`by\``,
  );
