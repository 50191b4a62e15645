/** Rows back to back in memory that is used again, and where each of them ends. */

/** Rows taken at once, so that the list of their ends stays small however short they are. */
const mostEnds = 64 * 1024;

export class CopyOutput {
  readonly bytes: Buffer<ArrayBuffer>;
  /** How far `bytes` is filled. */
  length = 0;
  /** Whole rows so far, taken ones included. */
  records = 0;
  readonly #ends = new Uint32Array(mostEnds);
  #endCount = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get room(): number {
    return this.bytes.length - this.length;
  }

  get hasRoomForEnds(): boolean {
    return this.#endCount < mostEnds;
  }

  /** A row has come to its end at `length`. */
  endRow(): void {
    this.#ends[this.#endCount] = this.length;
    this.#endCount += 1;
    this.records += 1;
  }

  /** Where whole rows end, in the bytes of `takeable`. */
  get ends(): Uint32Array {
    return this.#ends.subarray(0, this.#endCount);
  }

  /** Whole rows; of a row that alone fills the output, what there is of it. Valid until `take`. */
  get takeable(): Uint8Array {
    // No Buffer: its `slice` would not copy, and copying is how a batch is kept.
    return new Uint8Array(this.bytes.buffer, 0, this.ends.at(-1) ?? this.length);
  }

  /** The output was taken: keeps only what was not takeable. */
  take(): void {
    const taken = this.takeable.length;
    this.bytes.copyWithin(0, taken, this.length);
    this.length -= taken;
    this.#endCount = 0;
  }
}
