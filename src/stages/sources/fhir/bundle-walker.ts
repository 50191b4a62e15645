/**
 * From the bytes of one Bundle to its resources, as the server wrote them but for white space between tokens. Held are
 * the resource under way and the text around resources, in which an empty string stands for each entry, and for its resource.
 *
 * Nothing unseen gets through: resource, entry and envelope are each parsed as JSON by who takes them, and as a string takes
 * the place of one whole value, and goes on in nothing that may follow, all of them are JSON exactly when the document was.
 */
import { PipelineError } from "../../../errors.ts";
import { createEnvelope, type Envelope } from "./envelope.ts";
import type { ResourceBuffer } from "./resource-buffer.ts";

export interface BundleEvents {
  /** A whole resource lies in the buffer; the entry around it may still say what it is. */
  onResource(): void;
  /** @param text the entry; an empty string stands for its resource */
  onEntry(text: string): void;
}

/** Depths: 1 in the Bundle, 2 in its entries, 3 in an entry, 4 and more in its resource. */
const [inBundle, inEntries, inEntry] = [1, 2, 3];

const [quote, backslash, colon, comma] = [0x22, 0x5c, 0x3a, 0x2c];
const [openObject, closeObject, openArray, closeArray] = [0x7b, 0x7d, 0x5b, 0x5d];
const [space, tab, lineFeed, carriageReturn] = [0x20, 0x09, 0x0a, 0x0d];

export class BundleWalker {
  readonly #resource: ResourceBuffer;
  readonly #maxRecord: number;
  readonly #events: BundleEvents;
  readonly #top = createEnvelope();
  readonly #entry = createEnvelope();
  /** Where what is read belongs; undefined is the resource. */
  #into: Envelope | undefined = this.#top;
  #depth = 0;
  #inString = false;
  /** In a string, the next byte stands for itself. */
  #escaped = false;
  /** What follows is the member that is walked into: `entry` of the Bundle, `resource` of an entry. */
  #awaited = false;
  #inEntryArray = false;
  /** The last byte was of a number or a word; white space behind it must not join it with the next. */
  #inWord = false;
  #gap = false;
  #ended = false;

  constructor(resource: ResourceBuffer, maxRecord: number, events: BundleEvents) {
    this.#resource = resource;
    this.#maxRecord = maxRecord;
    this.#events = events;
  }

  /**
   * Walks to the next entry's brace or to the end of the chunk; gives where it stands then.
   * @param at where to begin
   * @param enters whether an entry that begins there is walked too
   * @throws PipelineError `source-bad-data`
   */
  walk(chunk: Uint8Array, at: number, enters: boolean): number {
    let from = at;
    const entered = enters ? at : -1;
    while (at < chunk.length) {
      if (this.#inString) {
        at = this.#skipString(chunk, at);
        continue;
      }
      const byte = chunk[at]!;
      if (byte === quote) {
        this.#inString = true;
        this.#inWord = false;
      } else if (byte <= space && isSpace(byte)) {
        this.#move(chunk, from, at);
        from = at + 1;
        this.#gap = this.#inWord;
      } else if (this.#ended) throw malformed("more after its end");
      else if (byte === openObject && this.#isAtEntry && at !== entered) {
        this.#move(chunk, from, at);
        return at;
      } else from = this.#mark(byte, chunk, from, at);
      at += 1;
    }
    this.#move(chunk, from, chunk.length);
    return at;
  }

  /** The entry at which it stands was taken whole by somebody else. */
  passEntry(): void {
    this.#gap = false;
    this.#top.putStandIn();
  }

  get #isAtEntry(): boolean {
    return this.#inEntryArray && this.#depth === inEntries && !this.#inWord;
  }

  /** The Bundle after its last byte; an empty string stands for each entry. @throws PipelineError `source-bad-data` */
  finish(): string {
    if (!this.#ended) throw malformed("cut off");
    return this.#top.take();
  }

  /** From inside a string to behind its end, or to the end of the chunk. */
  #skipString(chunk: Uint8Array, start: number): number {
    let at = start;
    if (this.#escaped) {
      this.#escaped = false;
      at += 1;
    }
    // Most strings are short; in long ones whole runs are passed at once.
    for (let near = at + nearBytes; at < chunk.length; at += 1) {
      if (at >= near) {
        at += plainBytes(chunk, at);
        near = at + nearBytes;
        if (at === chunk.length) break;
      }
      const byte = chunk[at];
      if (byte === backslash) at += 1;
      else if (byte === quote) {
        this.#inString = false;
        return at + 1;
      }
    }
    this.#escaped = at > chunk.length;
    return chunk.length;
  }

  /** A byte outside strings; gives from where on bytes belong to what `#into` is then. */
  #mark(byte: number, chunk: Uint8Array, from: number, at: number): number {
    const wasGap = this.#gap;
    this.#gap = false;
    if (byte === colon || byte === comma) {
      this.#inWord = false;
      if (byte === colon) return this.#name(chunk, from, at);
      this.#awaited = false;
    } else if (byte === openObject || byte === openArray) {
      // A number before it would make one with the 0 that stands for it.
      if (this.#inWord) throw malformed("broken JSON");
      return this.#open(byte, chunk, from, at);
    } else if (byte === closeObject || byte === closeArray) {
      this.#inWord = false;
      return this.#close(chunk, from, at);
    } else if (wasGap) throw malformed("broken JSON");
    else this.#inWord = true;
    return from;
  }

  #move(chunk: Uint8Array, start: number, end: number): void {
    if (start >= end) return;
    if (this.#into) return this.#into.append(chunk, start, end);
    if (this.#resource.begun + end - start > this.#maxRecord) throw tooLarge(this.#maxRecord);
    this.#resource.append(chunk, start, end);
  }

  #open(byte: number, chunk: Uint8Array, from: number, at: number): number {
    const isObject = byte === openObject;
    const was = this.#into;
    if (was === this.#top) {
      if (this.#awaited && !isObject) this.#inEntryArray = true;
      else if (isObject && this.#isAtEntry) {
        this.#move(chunk, from, at);
        this.#into = this.#entry;
      }
    } else if (was === this.#entry && this.#awaited && isObject) {
      this.#move(chunk, from, at);
      this.#into = undefined;
    }
    this.#awaited = false;
    this.#depth += 1;
    return was === this.#into ? from : at;
  }

  #close(chunk: Uint8Array, from: number, at: number): number {
    this.#depth -= 1;
    if (this.#into === undefined && this.#depth === inEntry) {
      this.#move(chunk, from, at + 1);
      this.#events.onResource();
      this.#into = this.#entry;
      this.#entry.putStandIn();
      return at + 1;
    }
    if (this.#into === this.#entry && this.#depth === inEntries) {
      this.#move(chunk, from, at + 1);
      this.#events.onEntry(this.#entry.take());
      this.#into = this.#top;
      this.#top.putStandIn();
      return at + 1;
    }
    if (this.#depth === inBundle) this.#inEntryArray = false;
    this.#ended = this.#depth === 0;
    return from;
  }

  /** What stands before a colon is a key. */
  #name(chunk: Uint8Array, from: number, at: number): number {
    const isBundle = this.#into === this.#top && this.#depth === inBundle;
    if (!isBundle && !(this.#into === this.#entry && this.#depth === inEntry)) return from;
    this.#move(chunk, from, at);
    this.#awaited = this.#into!.endsWithKey(isBundle ? entryKey : resourceKey);
    return at;
  }
}

const entryKey = Buffer.from('"entry"');
const resourceKey = Buffer.from('"resource"');

const nearBytes = 64;

/** How many bytes from `at` on are neither a quote nor a backslash. */
function plainBytes(chunk: Uint8Array, at: number): number {
  const end = chunk.indexOf(quote, at);
  const rest = chunk.subarray(at, end < 0 ? chunk.length : end);
  const escape = rest.indexOf(backslash);
  return escape < 0 ? rest.length : escape;
}

const isSpace = (byte: number) =>
  byte === space || byte === tab || byte === lineFeed || byte === carriageReturn;

function tooLarge(maxRecord: number): PipelineError {
  return malformed(`a resource is larger than maxRecord (${maxRecord} bytes); raise it`);
}

const malformed = (what: string) => new PipelineError("source-bad-data", what);
