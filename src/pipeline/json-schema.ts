/**
 * The JSON Schema (draft-07) of a pipeline file, for completion, hover and checks in editors.
 *
 * Derived from the valibot schemas of the spec and of every stage; there is no second description of a config.
 * It is a little wider than `validateSpec`: limits of sizes and rules across fields are checked there alone.
 */
import { toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { duration, size, sizeUnits, timeUnits } from "../stages/atoms.ts";
import type { AnyStage } from "../stages/stage.ts";
import { openSchema } from "./schema-walk.ts";
import { specSchema } from "./spec.ts";
import type { Registry } from "./validate.ts";

/** The part of JSON Schema that is used here; `unit` and `secret` are notes for the reference, not for editors. */
export interface JsonNode {
  readonly $ref?: string;
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxProperties?: number;
  readonly minProperties?: number;
  readonly items?: JsonNode;
  readonly anyOf?: readonly JsonNode[];
  readonly properties?: Readonly<Record<string, JsonNode>>;
  readonly patternProperties?: Readonly<Record<string, JsonNode>>;
  readonly additionalProperties?: boolean | JsonNode;
  readonly required?: readonly string[];
  readonly unit?: string;
  readonly secret?: boolean;
}

export interface PipelineJsonSchema extends JsonNode {
  readonly $schema: string;
  readonly title: string;
  readonly definitions: Readonly<Record<string, JsonNode>>;
}

const ref = (name: string): JsonNode => ({ $ref: `#/definitions/${name}` });
const modulePath = "^\\.{0,2}/";

/** The schema of a pipeline of these stages. */
export function pipelineJsonSchema(registry: Registry): PipelineJsonSchema {
  const stages = [...registry.values()];
  const top = convert(specSchema);
  const anyOf = [...stages.map(stageEntry), bareEntries(stages), moduleEntry];
  const properties = { ...top.properties };
  properties["stages"] = { ...properties["stages"], items: { anyOf } };
  const { type, required, additionalProperties } = top;
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "spillway pipeline",
    ...withReferences({ type, required, additionalProperties, properties } as JsonNode),
    definitions,
  };
}

/** The config of one stage as its schema says it: notes kept, references not added. */
export const configJsonSchema = (stage: AnyStage): JsonNode =>
  convert(stage.config as v.GenericSchema);

/** True when the stage needs no config: `- spool`. */
const isConfigOptional = (stage: AnyStage): boolean =>
  v.safeParse(stage.config as v.GenericSchema, {}).success;

function convert(schema: v.GenericSchema): JsonNode {
  const converted = toJsonSchema(schema, {
    typeMode: "input",
    errorMode: "ignore",
    overrideSchema: ({ valibotSchema, jsonSchema }) =>
      overrideNode(valibotSchema, jsonSchema as JsonNode) as typeof jsonSchema,
  }) as JsonNode & { $schema?: string };
  const { $schema: _, ...node } = converted;
  return node;
}

/** Sizes and durations by name; what only code can give (functions, streams) left out. */
function overrideNode(schema: v.GenericSchema, node: JsonNode): JsonNode | undefined {
  if (schema.type === "strict_object") {
    const { entries } = schema as unknown as { entries: Record<string, v.GenericSchema> };
    const fields = Object.entries(node.properties ?? {}).map(
      ([key, field]) => [key, overrideField(entries[key]!, field)] as const,
    );
    return { ...node, properties: Object.fromEntries(fields) };
  }
  if (schema.type !== "union") return undefined;
  const { options } = schema as unknown as { options: readonly v.GenericSchema[] };
  const anyOf = (node.anyOf ?? [])
    .map((member, index) => (options[index] === size ? ref("size") : member))
    .filter((_, index) => options[index]?.type !== "custom");
  return anyOf.length === 1 ? anyOf[0] : { ...node, anyOf };
}

function overrideField(schema: v.GenericSchema, node: JsonNode): JsonNode {
  const opened = [...openSchema(schema)];
  const isMapping = opened.some(({ type }) => type === "strict_object");
  const unit = isMapping ? undefined : unitOf(opened);
  // What stands behind a transformation is not part of the input's schema, but it describes the field all the same.
  const notes = { description: v.getDescription(schema), ...v.getMetadata(schema) };
  if (unit === undefined) return clean({ ...notes, ...node });
  const plain = unit === "size" ? "bytes" : "milliseconds";
  return clean({ unit: plain, ...notes, default: node.default, anyOf: [ref(unit)] });
}

function unitOf(opened: readonly v.GenericSchema[]): "size" | "duration" | undefined {
  if (opened.includes(size)) return "size";
  return opened.includes(duration) ? "duration" : undefined;
}

function stageEntry(stage: AnyStage): JsonNode {
  const config = configJsonSchema(stage);
  const forms = config.anyOf ?? [config];
  const bare = forms.flatMap((form) => form.properties?.[stage.shorthand ?? ""] ?? []);
  const anyOf = [...forms, ...bare.filter((field) => field.type !== "object")];
  if (isConfigOptional(stage)) anyOf.push({ type: "null" });
  return {
    type: "object",
    description: stage.summary,
    properties: { [stage.name]: { description: stage.summary, anyOf } },
    required: [stage.name],
    additionalProperties: false,
  };
}

/** `- spool`: a stage that needs no config, by its name alone. */
function bareEntries(stages: readonly AnyStage[]): JsonNode {
  const names = stages.filter(isConfigOptional).map((stage) => stage.name);
  return { anyOf: [{ enum: names }, { type: "string", pattern: modulePath }] };
}

const moduleEntry: JsonNode = {
  type: "object",
  description: "a custom stage: the path of its module, relative to this file, and its config",
  patternProperties: { [modulePath]: {} },
  minProperties: 1,
  maxProperties: 1,
  additionalProperties: false,
};

const unitPattern = (units: object) =>
  `^\\s*\\d+(?:\\.\\d+)?\\s*(?:${Object.keys(units).join("|")})\\s*$`;

const definitions: Readonly<Record<string, JsonNode>> = {
  size: {
    description: "a size such as 1MiB, 64KB or 4096 (bytes)",
    anyOf: [
      { type: "string", pattern: unitPattern(sizeUnits) },
      { type: "integer", minimum: 1 },
      ref("reference"),
    ],
  },
  duration: {
    description: "a duration such as 30s, 5m or 250 (milliseconds)",
    anyOf: [
      { type: "string", pattern: unitPattern(timeUnits) },
      { type: "integer", minimum: 1 },
      ref("reference"),
    ],
  },
  reference: {
    description: "${env:NAME}, ${env:NAME:-default} or ${file:path}",
    type: "string",
    pattern: "^\\$\\{(?:env:[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?|file:[^}]+)\\}$",
  },
  textWithReference: {
    description: "a text with ${env:NAME}, ${env:NAME:-default} or ${file:path} in it",
    type: "string",
    pattern: "\\$\\{(?:env|file):[^}]+\\}",
  },
};

/** Every scalar may also be a reference; the notes for the reference go. */
function withReferences(node: JsonNode): JsonNode {
  const { unit: _unit, secret: _secret, ...rest } = node;
  const { items, anyOf, properties, additionalProperties: more } = rest;
  if (anyOf) return { ...rest, anyOf: referencesBeside(anyOf) };
  const stand = standIn(rest);
  if (stand) {
    const { description, default: standard, ...limits } = rest;
    return clean({ description, default: standard, anyOf: [limits, stand] });
  }
  return clean({
    ...rest,
    items: items && withReferences(items),
    properties: properties && mapValues(properties, withReferences),
    additionalProperties: typeof more === "object" ? withReferences(more) : more,
  });
}

/** One reference for all scalars of a union. */
function referencesBeside(members: readonly JsonNode[]): JsonNode[] {
  const stands = members.flatMap((member) => standIn(member) ?? []);
  const others = members.map((member) => {
    const { unit: _unit, secret: _secret, ...rest } = member;
    return standIn(member) ? rest : withReferences(member);
  });
  const isOpen = members.some((member) => member.type === "string" && !standIn(member));
  return isOpen ? others : [...others, ...stands.slice(0, 1)];
}

/** What may be written instead of this scalar; nothing for texts without limits and for what is no scalar. */
function standIn(node: JsonNode): JsonNode | undefined {
  if (node.type === "number" || node.type === "integer" || node.type === "boolean")
    return ref("reference");
  if (node.enum !== undefined || node.const !== undefined) return ref("reference");
  const isLimited = node.pattern !== undefined || (node.minLength ?? 0) > 1;
  return node.type === "string" && isLimited ? ref("textWithReference") : undefined;
}

function mapValues(
  record: Readonly<Record<string, JsonNode>>,
  change: (node: JsonNode) => JsonNode,
) {
  return Object.fromEntries(Object.entries(record).map(([key, node]) => [key, change(node)]));
}

function clean(node: { readonly [Key in keyof JsonNode]: JsonNode[Key] | undefined }): JsonNode {
  return Object.fromEntries(Object.entries(node).filter(([, value]) => value !== undefined));
}
