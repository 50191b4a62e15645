/** The module that writes records, started in a memory of its own. */
import { createStarter } from "../start-module.ts";
import { machineBytes } from "./machine-bytes.ts";

/** What `assembly/records.ts` exports; positions are bytes in its memory. */
export interface MachineExports {
  readonly out: { readonly value: number };
  readonly endCount: { readonly value: number };
  describeColumns(at: number, count: number, json: boolean): void;
  describeRecord(between: number, betweenBytes: number, after: number, afterBytes: number): void;
  describeRoom(
    start: number,
    end: number,
    enough: number,
    growth: number,
    framing: number,
    numericRoom: number,
    whole: number,
  ): void;
  describeEnds(at: number, most: number): void;
  describeCsv(
    delimiter: number,
    quote: number,
    quoteAll: boolean,
    nullAt: number,
    nullBytes: number,
  ): void;
  writeRows(at: number, end: number): number;
  beginRecord(): void;
  endRecord(): void;
  keepFrom(taken: number): void;
  beginValue(column: number): void;
  writeNull(column: number): void;
  writeValue(column: number, at: number, end: number): number;
  openLong(column: number): void;
  writePart(column: number, at: number, end: number): void;
  closeLong(column: number): void;
}

const start = createStarter(machineBytes);

export function startMachine(bytes: number): { exports: MachineExports; buffer: ArrayBuffer } {
  const { exports, buffer } = start(bytes);
  return { exports: exports as MachineExports, buffer };
}
