/**
 * What an export must know of a resource, without making an object of it: the machine proves that it is JSON and finds the few
 * values; a resource it leaves alone (large, deep, names with escapes) is parsed whole, as is every OperationOutcome.
 */
import { isUtf8 } from "node:buffer";
import { createStarter } from "../start-module.ts";
import { machineBytes } from "./machine-bytes.ts";
import { parseJson } from "./parse-json.ts";

export interface Resource {
  readonly resourceType: string;
  readonly id?: unknown;
  readonly meta?: { readonly versionId?: unknown; readonly tag?: unknown } | null;
}

/** What `assembly/resource.ts` exports; positions are bytes in its memory. */
interface MachineExports {
  /** Start and end of `resourceType`, `id`, `meta.versionId` and `meta.tag`. */
  readonly found: { readonly value: number };
  readResource(at: number, end: number): 0 | 1 | 2;
}

const startMachine = createStarter(machineBytes);

const [isBroken, isFound] = [0, 1];
/** Larger ones are parsed. */
const mostBytes = 128 * 1024;
/** The module's own tables lie below. */
const textAt = 4096;
const slackBytes = 32;

type Reading = Resource | "broken" | "not UTF-8" | "untyped";

/** One for all, since it keeps nothing between two resources: 192 KiB. */
let machine: ReturnType<typeof start> | undefined;

/** @param bytes one resource, as its server wrote it */
export function readResource(bytes: Uint8Array): Reading {
  if (!isUtf8(bytes)) return "not UTF-8";
  if (bytes.length > mostBytes) return parseWhole(bytes);
  const { exports, memory, valueAt } = (machine ??= start());
  memory.set(bytes, textAt);
  const answer = exports.readResource(textAt, textAt + bytes.length);
  if (answer === isBroken) return "broken";
  const resourceType = answer === isFound ? valueAt(0) : undefined;
  if (typeof resourceType !== "string" || resourceType === "OperationOutcome")
    return parseWhole(bytes);
  return { resourceType, id: valueAt(2), meta: { versionId: valueAt(4), tag: valueAt(6) } };
}

function start() {
  const { exports: started, buffer } = startMachine(textAt + mostBytes + slackBytes);
  const exports = started as MachineExports;
  const memory = Buffer.from(buffer);
  const found = new Uint32Array(buffer, exports.found.value, 8);
  const valueAt = (slot: number): unknown => {
    const [at, end] = [found[slot]!, found[slot + 1]!];
    if (at === 0) return undefined;
    const text = memory.toString("utf8", at, end);
    const isPlain = text.startsWith('"') && !text.includes("\\");
    return isPlain ? text.slice(1, -1) : JSON.parse(text);
  };
  return { exports, memory, valueAt };
}

function parseWhole(bytes: Uint8Array): Reading {
  const resource = parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  if (resource === undefined) return "broken";
  const { resourceType } = (resource ?? {}) as Partial<Resource>;
  return typeof resourceType === "string" ? (resource as Resource) : "untyped";
}
