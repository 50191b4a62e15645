/**
 * The WebAssembly of `assembly/resource.ts`, one for all that read: nothing lasts in it from one call to the next. Its memory
 * holds tables, the inlet, where pieces of Bundles are read, and one text, each with the slack that vectors need behind it.
 */
import { randomFillSync } from "node:crypto";
import { createStarter } from "../start-module.ts";
import { machineBytes } from "./machine-bytes.ts";

/** What `assembly/resource.ts` exports; positions are bytes in its memory. */
interface MachineExports {
  /** Start and end of each value that was found, then the bytes of white space in a resource. */
  readonly found: { readonly value: number };
  readResource(at: number, end: number): 0 | 1 | 2;
  readEntry(at: number, end: number): number;
  /** @param slot in bytes */
  isSame(slot: number): 0 | 1;
  compact(at: number, end: number, to: number): number;
  digest(at: number, end: number, key: number, to: number): void;
}

export interface Machine {
  readonly exports: MachineExports;
  /** All of its memory. */
  readonly memory: Buffer<ArrayBuffer>;
  /** What was found; each value has two slots. */
  readonly found: Uint32Array<ArrayBuffer>;
  /** The value that was found; undefined for one that was not. */
  valueAt(slot: number): unknown;
}

export const slots = { type: 0, id: 2, version: 4, tag: 6, resource: 8, mode: 10, spaces: 12 };

/** A piece of a Bundle, or one resource, at most. */
export const inletBytes = 128 * 1024;
const quote = 0x22;
const slackBytes = 32;
/** The module's own tables lie below. */
export const keyAt = 4096;
export const digestAt = keyAt + 16;
export const inletAt = digestAt + 16;
export const textAt = inletAt + inletBytes + slackBytes;
const memoryBytes = textAt + inletBytes + slackBytes;

const startModule = createStarter(machineBytes);
let machine: Machine | undefined;

export function takeMachine(): Machine {
  return (machine ??= start());
}

function start(): Machine {
  const { exports: started, buffer } = startModule(memoryBytes);
  const exports = started as MachineExports;
  const memory = Buffer.from(buffer);
  const found = new Uint32Array(buffer, exports.found.value, 13);
  randomFillSync(memory, keyAt, 16);
  const decode = (at: number, end: number): unknown => {
    if (memory[at] === quote) {
      const text = memory.toString("utf8", at + 1, end - 1);
      if (!text.includes("\\")) return text;
    }
    return JSON.parse(memory.toString("utf8", at, end));
  };
  const lasts: unknown[] = Array.from({ length: slots.spaces });
  const valueAt = (slot: number): unknown => {
    const [at, end] = [found[slot]!, found[slot + 1]!];
    if (at === 0) return undefined;
    if (exports.isSame(4 * slot) === 0) lasts[slot] = decode(at, end);
    return lasts[slot];
  };
  return { exports, memory, found, valueAt };
}
