/**
 * From the tokens of one JSON document to the objects of the array at a path: what the `json` source is made of.
 *
 * Errors say what is wrong, not where: the place is known to whoever feeds the tokens.
 */
import type { Token } from "stream-json/parser.js";
import { PipelineError } from "../../errors.ts";
import type { Row, RowBatch } from "../nouns.ts";
import { setMember } from "../transforms/documents.ts";
import { rowBytes } from "./input-file.ts";
import { exactNumber } from "./json-values.ts";

/** Arrays and objects inside each other at most; whoever prints a row needs stack for each of them. */
const maxDepth = 1000;

export interface Elements {
  /** Elements begun so far. */
  readonly begun: number;
  /** About how much memory the objects take that were not taken yet. */
  readonly bytes: number;
  /** @throws PipelineError `source-bad-data` */
  push(token: Token): void;
  /** Call after the last token. @throws PipelineError `source-bad-data` when something is missing. */
  finish(): void;
  takeBatch(): RowBatch;
}

/** Collects the objects of the array at `path` (keys from the top; none: the document itself is the array). */
export function createElements(path: readonly string[], maxRecord: number): Elements {
  const finder = createFinder(path);
  let rows: Row[] = [];
  let bytes = 0;
  let begun = 0;
  let builder: ValueBuilder | undefined;

  const begin = (token: Token) => {
    begun += 1;
    if (token.name !== "startObject")
      throw malformed("not an object; expected an array of objects");
    builder = createBuilder(maxRecord);
  };

  return {
    get begun() {
      return begun;
    },
    get bytes() {
      return bytes;
    },
    push(token) {
      if (!builder) {
        if (!finder.inside || token.name === "endArray") return finder.push(token);
        begin(token);
      }
      if (!builder?.push(token)) return;
      rows.push(builder.value as Row);
      bytes += rowBytes(builder.length);
      builder = undefined;
    },
    finish() {
      if (!finder.closed)
        throw malformed("the document ends too early; expected one whole document");
      if (!finder.found) throw malformed(`no array at ${path.join(".") || "the top"}`);
    },
    takeBatch() {
      const batch: RowBatch = { shape: "documents", columns: [], rows, bytes };
      rows = [];
      bytes = 0;
      return batch;
    },
  };
}

/** Follows a document down to the array at `path` and, past it, to the end. */
function createFinder(path: readonly string[]) {
  /** For every open object its current key; null for arrays. */
  const trail: (string | null)[] = [];
  const finder = { found: false, inside: false, closed: false, push };

  const isHere = () =>
    trail.length === path.length && path.every((segment, level) => segment === trail[level]);

  function open(isArray: boolean) {
    if (isHere()) {
      if (!isArray) throw malformed("an object; expected an array of objects (see `pick`)");
      finder.found = true;
      finder.inside = true;
    }
    if (trail.length >= maxDepth) throw tooDeep();
    trail.push(null);
  }

  function enter(key: string) {
    trail[trail.length - 1] = key;
    // JSON lets the last of two equal keys win, but the first one's rows are gone already.
    if (finder.found && trail.every((segment, level) => segment === path[level]))
      throw malformed(`a second "${key}" on the way to the array`);
  }

  function push(token: Token): void {
    if (token.name === "startArray" || token.name === "startObject") {
      return open(token.name === "startArray");
    }
    if (token.name === "keyValue") enter(token.value);
    else if (token.name === "endArray" || token.name === "endObject") {
      trail.pop();
      finder.inside = false;
    } else if (isHere()) throw malformed("a single value; expected an array of objects");
    finder.closed = trail.length === 0;
  }

  return finder;
}

interface ValueBuilder {
  /** The first value pushed; whole once `push` has answered true. */
  readonly value: unknown;
  /** Characters so far, as they are read: white space and escapes aside. */
  readonly length: number;
  /** Adds a token; true when the value is whole. */
  push(token: Token): boolean;
}

type Container = unknown[] | Record<string, unknown>;

/** Builds one value from its tokens, without recursion: nesting costs no stack. */
function createBuilder(maxRecord: number): ValueBuilder {
  const open: Container[] = [];
  const keys: string[] = [];
  const text = createText();
  const built = { value: undefined as unknown, length: 0, push };

  const add = (value: unknown) => {
    const parent = open.at(-1);
    if (!parent) built.value = value;
    else if (Array.isArray(parent)) parent.push(value);
    else setMember(parent, keys.pop() as string, value);
  };

  const enter = (container: Container) => {
    if (open.length >= maxDepth) throw tooDeep();
    add(container);
    open.push(container);
  };

  function push(token: Token): boolean {
    // Beside what is in a value stands a comma, a colon or a bracket.
    let length = 1;
    switch (token.name) {
      case "stringChunk":
        length = token.value.length;
        text.add(token.value);
        break;
      case "endString":
        add(text.take());
        break;
      case "keyValue":
        length += token.value.length;
        keys.push(token.value);
        break;
      case "numberValue":
        length += token.value.length;
        add(exactNumber(token.value));
        break;
      case "trueValue":
      case "falseValue":
      case "nullValue":
        length += 4;
        add(token.value);
        break;
      case "startObject":
        enter({});
        break;
      case "startArray":
        enter([]);
        break;
      case "endObject":
      case "endArray":
        open.pop();
        break;
      default:
        return false;
    }
    built.length += length;
    if (built.length > maxRecord) throw tooLarge(maxRecord);
    return open.length === 0;
  }

  return built;
}

/** What the tokenizer takes at once of a text that does not end in its buffer; an escape is a chunk of its own. */
const longestChunk = 256;
/** Chunks are joined in groups: one added to the other, escapes would take 30 times the memory of what they say. */
const mostChunks = 1024;

/** A text, of the chunks that it comes in. */
function createText() {
  let whole = "";
  let chunks: string[] = [];
  const gather = () => {
    whole += chunks.join("");
    chunks = [];
  };
  return {
    add(chunk: string) {
      // A longer one was added up of what lies between escapes; V8 writes it in one piece to count its bytes.
      if (chunk.length > longestChunk) Buffer.byteLength(chunk);
      if (whole === "") whole = chunk;
      else if (chunks.push(chunk) === mostChunks) gather();
    },
    take() {
      if (chunks.length > 0) gather();
      const taken = whole;
      whole = "";
      return taken;
    },
  };
}

function tooDeep(): PipelineError {
  return malformed(`nested deeper than ${maxDepth} levels`);
}

export function tooLarge(maxRecord: number): PipelineError {
  return malformed(`larger than maxRecord (${maxRecord} bytes); raise it or split the record`);
}

function malformed(what: string): PipelineError {
  return new PipelineError("source-bad-data", what);
}
