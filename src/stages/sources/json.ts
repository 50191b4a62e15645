/**
 * what: the objects of one JSON array, however large, from a file or stdin · takes nothing / gives rows (documents)
 * holds: the largest object allowed as text and as a row, the token under way, two reads and one batch
 * order: as in the array
 * ends: a batch without rows that carries the proof, after the document proved whole; `[]` has no rows
 * fails: source-bad-data (element and bytes named), input-missing, source-refused, source-changed: fix the file;
 *   source-failed: try again
 */
import * as v from "valibot";
import { text } from "../atoms.ts";
import type { RowBatch } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { PipelineError } from "../../errors.ts";
import { badData, batchBytes, digestQuery, readBytes, readInput } from "./input-file.ts";
import { createElements, tooLarge } from "./json-elements.ts";
import { heldRecord, inputPath, maxRecord } from "./ndjson.ts";

/** Text is tokenized in pieces so small that their tokens, forty times as large, do not outlive V8's young generation. */
const pieceBytes = 2 * 1024;
/** Tokens, with those that V8 has not collected yet. */
const tokenBytes = 2 ** 20;

/** Longer than anything the tokenizer looks ahead for. */
const padding = " ".repeat(32);

const config = v.strictObject({
  path: inputPath,
  pick: v.pipe(
    v.optional(text),
    v.description(
      "dotted path to the array of rows, such as `data.items`; without it the document is the array",
    ),
  ),
  maxRecord,
});

export const json = defineStage({
  name: "json",
  summary:
    "Reads the objects of one JSON array of any size, at the top of a document or inside it; of members that repeat in one object the last counts.",
  config,
  shorthand: "path",
  takes: "nothing",
  gives: "rows",
  holds: ({ maxRecord }) => 2 * readBytes + tokenBytes + batchBytes + heldRecord(maxRecord, 8, 8),
  open: ({ path, pick, maxRecord }, ctx) =>
    readInput(path, digestQuery("json", path, pick ?? null), ctx, ({ name, bytes }) =>
      readJson(bytes, name, { pick, maxRecord }),
    ),
});

export interface JsonShape {
  readonly pick?: string | undefined;
  readonly maxRecord: number;
}

/**
 * The objects of the picked array of one JSON document, in batches of about 64 KiB of memory.
 * @throws PipelineError `source-bad-data`: not UTF-8, not JSON, cut off, followed by more, no array at `pick`, an
 * element that is no object or larger than `maxRecord`.
 */
export async function* readJson(
  bytes: AsyncIterable<Uint8Array>,
  where: string,
  { pick, maxRecord }: JsonShape,
): AsyncGenerator<RowBatch> {
  const elements = createElements(pick?.split(".") ?? [], maxRecord);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const tokenize = await createTokenizer(maxRecord);
  let offset = 0;
  const feed = (piece: Uint8Array | undefined) => {
    const end = offset + (piece?.length ?? 0);
    try {
      // White space after the end changes no JSON, but the tokenizer keeps nothing back for it.
      const text = decoder.decode(piece, { stream: piece !== undefined }) + (piece ? "" : padding);
      for (const token of tokenize(text)) elements.push(token);
      if (!piece) elements.finish();
    } catch (error) {
      throw explain(error, `${where}, element ${elements.begun}, bytes ${offset} to ${end}`);
    }
    offset = end;
  };
  for await (const chunk of bytes) {
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      feed(chunk.subarray(start, start + pieceBytes));
      if (elements.bytes >= batchBytes) yield elements.takeBatch();
    }
  }
  feed(undefined);
  if (elements.bytes > 0) yield elements.takeBatch();
}

/** The tokenizer of stream-json, with a bound on a token that does not end. */
async function createTokenizer(maxRecord: number) {
  const { jsonParser } = await import("stream-json/parser.js");
  const parse = jsonParser({ streamValues: false, packStrings: false });
  let keptLength = 0;
  return (text: string) => {
    const out = parse(text);
    if (typeof out !== "symbol") {
      keptLength = 0;
      return out.values;
    }
    keptLength += text.length;
    if (keptLength > maxRecord + pieceBytes) throw tooLarge(maxRecord);
    return [];
  };
}

/** Says where and what; the tokenizer's own messages may quote the document and must not travel. */
function explain(error: unknown, where: string): PipelineError {
  if (error instanceof PipelineError) return badData(where, error.message);
  const what =
    error instanceof TypeError ? "not valid UTF-8" : "broken JSON, or more after its end";
  return badData(where, `${what}; expected one whole JSON document`);
}
