/**
 * The one door to DuckDB, an optional package of 70 MB that is loaded where a pipeline asks for it.
 *
 * Texts and blobs are read by their bytes, past the package's own readers: those drop a U+FEFF at the start of a text, and keep
 * what they read until its whole chunk is gone.
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
  getStringBytes(view: DataView, offset: number): Uint8Array;
}
let accessors: Accessors | undefined;

/** A text or a blob takes so many bytes in its vector, where it lies itself or is pointed at. */
const entryBytes = 16;

/** The bytes of a text or a blob where they lie; null of a null. */
export function bytesAt(vector: library.DuckDBVector, at: number): Buffer | null {
  accessors ??= require(`${name}/lib/vectors/dataAccessors.js`) as Accessors;
  const { validity, dataView } = vector as unknown as Validated & { dataView: DataView };
  if (!validity.itemValid(at)) return null;
  const { buffer, byteOffset, length } = accessors.getStringBytes(dataView, at * entryBytes);
  return Buffer.from(buffer, byteOffset, length);
}
