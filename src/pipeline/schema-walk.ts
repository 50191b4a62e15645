/**
 * What a schema says of one place in a value: looks through optionals, pipes and unions down to the field.
 *
 * Read by what explains errors, resolves references and describes configs; the schemas themselves stay the only source.
 */
import * as v from "valibot";
import { duration, size } from "../stages/atoms.ts";
import type { AnyStage } from "../stages/stage.ts";
import type { Path } from "./problems.ts";
import type { FieldFacts } from "./references.ts";
import { specSchema } from "./spec.ts";

type Schema = v.GenericSchema;

/** The parts of valibot's schema objects that hold other schemas. */
interface Parts {
  readonly wrapped?: Schema;
  readonly pipe?: readonly [Schema, ...unknown[]];
  readonly options?: readonly unknown[];
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly item?: Schema;
  readonly items?: readonly Schema[];
  readonly value?: Schema;
  readonly rest?: Schema;
}
const partsOf = (schema: Schema) => schema as unknown as Parts;

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && (value as Schema).kind === "schema";

/** A schema and all it wraps or may be on its input side; sizes and durations are not looked into. */
export function* openSchema(schema: Schema): Generator<Schema> {
  yield schema;
  if (schema === size || schema === duration) return;
  const { wrapped, pipe, options } = partsOf(schema);
  if (pipe) yield* openSchema(pipe[0]);
  else if (wrapped) yield* openSchema(wrapped);
  else for (const option of options ?? []) if (isSchema(option)) yield* openSchema(option);
}

/** The schemas that may describe what stands at `path` below `schemas`. */
export function findSchemas(schemas: readonly Schema[], path: Path): Schema[] {
  let found = schemas.flatMap((schema) => [...openSchema(schema)]);
  for (const part of path)
    found = found.flatMap((schema) => childrenAt(schema, part)).flatMap((s) => [...openSchema(s)]);
  return found;
}

function childrenAt(schema: Schema, part: string | number): Schema[] {
  // A pipe has the parts of its first schema too; that one comes by itself.
  const { pipe, entries, item, items, value, rest } = partsOf(schema);
  if (pipe) return [];
  const child =
    typeof part === "number"
      ? (item ?? items?.[part] ?? rest)
      : entries && Object.hasOwn(entries, part)
        ? entries[part]
        : (value ?? rest);
  return isSchema(child) ? [child] : [];
}

/** The keys a mapping may have, or undefined where any key will do or no mapping is expected. */
export function findKeys(schemas: readonly Schema[]): string[] | undefined {
  const types = new Set(schemas.map((schema) => schema.type));
  if (!types.has("strict_object") || types.has("record") || types.has("custom")) return undefined;
  return [...new Set(schemas.flatMap((schema) => Object.keys(partsOf(schema).entries ?? {})))];
}

export function findDescription(schemas: readonly Schema[]): string | undefined {
  return schemas.map((schema) => v.getDescription(schema)).find((text) => text !== undefined);
}

/** The options of a field that takes one of a few words. */
export function findOptions(schemas: readonly Schema[]): string[] {
  return schemas.flatMap((schema) => {
    if (schema.type === "literal")
      return [String((schema as unknown as { literal: unknown }).literal)];
    return schema.type === "picklist" ? (partsOf(schema).options ?? []).map(String) : [];
  });
}

const texts = new Set(["string", "any", "unknown", "custom"]);
const scalars = new Set([...texts, "number", "boolean", "picklist", "literal", "null", "enum"]);

/** True where a text may stand that no unit or word list limits. */
export const isText = (schemas: readonly Schema[]): boolean =>
  schemas.some((schema) => texts.has(schema.type) && !isUnit(schema));

/** True where any scalar may stand. */
export const isScalar = (schemas: readonly Schema[]): boolean =>
  schemas.some((schema) => isUnit(schema) || scalars.has(schema.type));

const isUnit = (schema: Schema) => schema === size || schema === duration;

/** Where in a stage's config a path of the spec points; a bare value fills the field of the shorthand. */
function configPath(stage: AnyStage, path: Path): Path {
  const isBare = path.length === 0 || typeof path[0] === "number";
  return isBare && stage.shorthand !== undefined ? [stage.shorthand, ...path] : path;
}

/** What the spec's and the stages' schemas say of the place at `path`. */
export function describeField(registry: ReadonlyMap<string, AnyStage>, path: Path): FieldFacts {
  const [first, , name, ...rest] = path;
  const stage = first === "stages" ? registry.get(String(name)) : undefined;
  const schemas = stage
    ? findSchemas([stage.config as Schema], configPath(stage, rest))
    : findSchemas([specSchema], path);
  return {
    isSecret: schemas.some((schema) => v.getMetadata(schema)["secret"] === true),
    mayBeUnset: schemas.some((schema) => v.getMetadata(schema)["mayBeUnset"] === true),
    // Where nothing is known, a text stays as it is.
    isText: isText(schemas) || schemas.length === 0,
  };
}
