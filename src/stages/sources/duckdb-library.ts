/**
 * The one door to DuckDB, an optional package of 70 MB that is loaded where a pipeline asks for it.
 *
 * Its reader of texts drops a U+FEFF at their start, as `TextDecoder` does unless told otherwise. While a chunk is read here
 * another decoder takes its place, and at no other time: whoever else uses the package finds it as it was.
 */
import { createRequire } from "node:module";
import type * as library from "@duckdb/node-api";
import { PipelineError } from "../../errors.ts";

export type Library = typeof library;
export type {
  DuckDBConnection,
  DuckDBDataChunk as Chunk,
  DuckDBInstance,
  DuckDBPreparedStatement as Statement,
  DuckDBResult as Result,
  DuckDBType,
  DuckDBVector as Vector,
} from "@duckdb/node-api";

/** What the types that have parts say of them. */
export interface NestedType extends library.DuckDBDecimalType {
  readonly valueType: library.DuckDBType;
  readonly keyType: library.DuckDBType;
  readonly length: number;
  readonly entryNames: readonly string[];
  readonly entryTypes: readonly library.DuckDBType[];
  readonly memberTags: readonly string[];
  readonly memberTypes: readonly library.DuckDBType[];
}

/** Where nested values lie; some of it the package's own types hide, so its version is an exact one. */
interface Validated {
  readonly validity: { itemValid(at: number): boolean };
}
export type ListParts = Validated &
  Pick<library.DuckDBListVector, "childVector" | "getEntryOffset" | "getEntryLength">;
export type ArrayParts = Validated & { readonly childData: library.DuckDBVector };
export type StructParts = Pick<library.DuckDBStructVector, "entryVectorAt" | "isItemValid">;
export type MapParts = { readonly listVector: ListParts };
export type UnionParts = { readonly structVector: StructParts };

const require = createRequire(import.meta.url);
const name = "@duckdb/node-api";

/** @throws PipelineError `config-invalid` where the package is not installed or not made for this machine */
export function loadDuckdb(): Library {
  try {
    return require(name) as Library;
  } catch (error) {
    throw new PipelineError(
      "config-invalid",
      "the source `duckdb` needs a package that is not here; run `npm install @duckdb/node-api@1.5.4-r.1`",
      { cause: error },
    );
  }
}

interface Accessors {
  textDecoder: { decode(bytes: Uint8Array): string };
}

let accessors: Accessors | undefined;

/** What `read` gives, every text of it whole. */
export function readWhole<T>(read: () => T): T {
  accessors ??= require(`${name}/lib/vectors/dataAccessors.js`) as Accessors;
  const { textDecoder } = accessors;
  accessors.textDecoder = wholeTexts;
  try {
    return read();
  } finally {
    accessors.textDecoder = textDecoder;
  }
}

const wholeTexts: Accessors["textDecoder"] = {
  decode: ({ buffer, byteOffset, length }) => Buffer.from(buffer, byteOffset, length).toString(),
};
