/**
 * What an export must know of a resource, without making an object of it: the machine proves that it is JSON and finds the few
 * values; a resource it leaves alone (large, deep, names with escapes) is parsed whole, as is every OperationOutcome.
 */
import { isUtf8 } from "node:buffer";
import { inletBytes, type Machine, slots, takeMachine, textAt } from "./machine.ts";
import { parseJson } from "./parse-json.ts";

export interface Resource {
  readonly resourceType: string;
  readonly id?: unknown;
  readonly meta?: { readonly versionId?: unknown; readonly tag?: unknown } | null;
}

const [isBroken, isFound] = [0, 1];

type Reading = Resource | "broken" | "not UTF-8" | "untyped";

/** @param bytes one resource, as its server wrote it */
export function readResource(bytes: Uint8Array): Reading {
  if (!isUtf8(bytes)) return "not UTF-8";
  if (bytes.length > inletBytes) return parseWhole(bytes);
  const machine = takeMachine();
  machine.memory.set(bytes, textAt);
  const answer = machine.exports.readResource(textAt, textAt + bytes.length);
  if (answer === isBroken) return "broken";
  return (answer === isFound ? foundIn(machine) : undefined) ?? parseWhole(bytes);
}

/** What the machine found of a resource; undefined of one that is looked at whole. */
export function foundIn({ valueAt }: Machine): Resource | undefined {
  const resourceType = valueAt(slots.type);
  if (typeof resourceType !== "string" || resourceType === "OperationOutcome") return undefined;
  const meta = { versionId: valueAt(slots.version), tag: valueAt(slots.tag) };
  return { resourceType, id: valueAt(slots.id), meta };
}

function parseWhole(bytes: Uint8Array): Reading {
  const resource = parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  if (resource === undefined) return "broken";
  const { resourceType } = (resource ?? {}) as Partial<Resource>;
  return typeof resourceType === "string" ? (resource as Resource) : "untyped";
}
