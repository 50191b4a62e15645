/**
 * Lists, structs, maps and unions of DuckDB as JSON. Each value is read where it lies in its vector, member by member: as an object
 * of JavaScript a struct would lose names that occur twice, and the order of those that look like numbers.
 */
import { cellToJson } from "../formats/json-text.ts";
import type { JsonForm } from "../nouns.ts";
import type {
  ArrayParts,
  ListParts,
  MapParts,
  StructParts,
  UnionParts,
  Vector,
} from "./duckdb-library.ts";

/** The text of a value in its vector; null of a null. */
export type Print = (vector: Vector, at: number) => string | null;

export interface Kind {
  readonly type: string;
  readonly json: JsonForm;
  readonly print: Print;
}

/** A value as it stands in JSON. */
function jsonPrinter({ type, json, print }: Kind): (vector: Vector, at: number) => string {
  const toJson = cellToJson({ name: "", type, json });
  return (vector, at) => toJson(print(vector, at));
}

export function listKind(item: Kind | undefined): Kind | undefined {
  if (!item) return undefined;
  const print = jsonPrinter(item);
  return {
    type: `${item.type}[]`,
    json: "json",
    print(vector, at) {
      const list = vector as unknown as ListParts;
      if (!list.validity.itemValid(at)) return null;
      return printItems(list.childVector, list.getEntryOffset(at), list.getEntryLength(at), print);
    },
  };
}

export function arrayKind(item: Kind | undefined, length: number): Kind | undefined {
  if (!item) return undefined;
  const print = jsonPrinter(item);
  return {
    type: `${item.type}[${length}]`,
    json: "json",
    print(vector, at) {
      const { validity, childData } = vector as unknown as ArrayParts;
      return validity.itemValid(at) ? printItems(childData, at * length, length, print) : null;
    },
  };
}

function printItems(
  items: Vector,
  from: number,
  length: number,
  print: (vector: Vector, at: number) => string,
): string {
  return `[${Array.from({ length }, (_, index) => print(items, from + index)).join(",")}]`;
}

export function structKind(
  names: readonly string[],
  kinds: readonly Kind[] | undefined,
): Kind | undefined {
  // Members without names, as `row(1, 2)` makes them, are a list.
  const isRow = names.every((name) => name === "");
  const members = kinds?.map((kind, index) => ({
    key: isRow ? "" : `${JSON.stringify(names[index])}:`,
    print: jsonPrinter(kind),
  }));
  if (!members) return undefined;
  return {
    type: "struct",
    json: "json",
    print(vector, at) {
      const struct = vector as unknown as StructParts;
      if (!struct.isItemValid(at)) return null;
      const texts = members.map(
        ({ key, print }, index) => key + print(struct.entryVectorAt(index), at),
      );
      return isRow ? `[${texts.join(",")}]` : `{${texts.join(",")}}`;
    },
  };
}

export function mapKind(key: Kind | undefined, value: Kind | undefined): Kind | undefined {
  if (!key || !value) return undefined;
  const print = jsonPrinter(value);
  return {
    type: "map",
    json: "json",
    print(vector, at) {
      const { listVector: list } = vector as unknown as MapParts;
      if (!list.validity.itemValid(at)) return null;
      const entries = list.childVector as unknown as StructParts;
      const from = list.getEntryOffset(at);
      const members = Array.from({ length: list.getEntryLength(at) }, (_, index) => {
        const name = key.print(entries.entryVectorAt(0), from + index) ?? "";
        return `${JSON.stringify(name)}:${print(entries.entryVectorAt(1), from + index)}`;
      });
      return `{${members.join(",")}}`;
    },
  };
}

/** The member that is there, under its name. */
export function unionKind(
  tags: readonly string[],
  kinds: readonly Kind[] | undefined,
): Kind | undefined {
  const members = kinds?.map((kind, index) => ({
    key: JSON.stringify(tags[index]),
    print: jsonPrinter(kind),
  }));
  if (!members) return undefined;
  return {
    type: "union",
    json: "json",
    print(vector, at) {
      const { structVector: struct } = vector as unknown as UnionParts;
      const tag = struct.entryVectorAt(0).getItem(at);
      if (tag === null) return null;
      const member = members[Number(tag)]!;
      return `{${member.key}:${member.print(struct.entryVectorAt(Number(tag) + 1), at)}}`;
    },
  };
}
