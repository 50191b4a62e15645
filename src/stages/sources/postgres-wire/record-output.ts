/** Records back to back in the machine's memory, which is used again, and where each of them ends. */
import type { RecordMachine } from "./record-machine.ts";

export class RecordOutput {
  readonly #machine: RecordMachine;
  #taken = 0;

  constructor(machine: RecordMachine) {
    this.#machine = machine;
  }

  get length(): number {
    return this.#machine.exports.out.value - this.#machine.outAt;
  }

  get room(): number {
    return this.#machine.outBytes - this.length;
  }

  /** Where whole records end, in the bytes of `takeable`. */
  get ends(): Uint32Array {
    return this.#machine.ends.subarray(0, this.#machine.exports.endCount.value);
  }

  /** Whole records so far, taken ones included. */
  get records(): number {
    return this.#taken + this.#machine.exports.endCount.value;
  }

  /** Whole records; of a record that alone fills the output, what there is of it. Valid until `take`. */
  get takeable(): Uint8Array {
    const bytes = this.ends.at(-1) ?? this.length;
    // No Buffer: its `slice` would not copy, and copying is how a batch is kept.
    return new Uint8Array(this.#machine.bytes.buffer, this.#machine.outAt, bytes);
  }

  /** The output was taken: keeps only what was not takeable. */
  take(): void {
    const { exports } = this.#machine;
    const { length } = this.takeable;
    this.#taken += exports.endCount.value;
    exports.keepFrom(length);
  }
}
