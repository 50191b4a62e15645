/** Records back to back in memory that is used again, and where each of them ends. */
import { append } from "./record-writer.ts";

const firstEnds = 4096;

export class RecordOutput {
  readonly bytes: Buffer<ArrayBuffer>;
  /** How far `bytes` is filled. */
  length = 0;
  /** Where whole records end; the first `endCount` of them count. */
  ends = new Uint32Array(firstEnds);
  endCount = 0;
  /** Whole records so far, taken ones included. */
  records = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get room(): number {
    return this.bytes.length - this.length;
  }

  append(text: Uint8Array): void {
    this.length = append(this.bytes, this.length, text);
  }

  endRecord(): void {
    if (this.endCount === this.ends.length) {
      const more = new Uint32Array(this.ends.length * 2);
      more.set(this.ends);
      this.ends = more;
    }
    this.ends[this.endCount] = this.length;
    this.endCount += 1;
    this.records += 1;
  }

  /** Bytes of whole records; of a record that alone fills the output, what there is of it. */
  get takeable(): number {
    return this.endCount > 0 ? this.ends[this.endCount - 1]! : this.length;
  }

  /** The output was taken: keeps only what was not takeable. */
  take(): void {
    const taken = this.takeable;
    this.bytes.copyWithin(0, taken, this.length);
    this.length -= taken;
    this.endCount = 0;
  }
}
