/**
 * A Bundle in pieces of any size. An entry that lies whole in the machine's inlet, with one resource and nothing unusual, is
 * taken at once, for a fraction of what walking it costs. All else is walked, and with it all that is wrong, so that
 * whoever reads cannot tell which way an entry came. Held are at most `inletBytes`.
 */
import { isUtf8 } from "node:buffer";
import { type BundleEvents, BundleWalker } from "./bundle-walker.ts";
import { inletAt, inletBytes, slots, takeMachine, textAt } from "./machine.ts";
import type { ResourceBuffer } from "./resource-buffer.ts";
import { foundIn, type Resource } from "./resource-reader.ts";

export interface WholeEvents extends BundleEvents {
  /** A whole resource lies in the buffer, and its entry says `mode` of it. */
  onWhole(resource: Resource, mode: unknown): void;
}

/** Enough to be read: few entries are cut then, and each is looked at twice at most. */
const enoughBytes = inletBytes / 2;
const isUnusual = 1;

export class BundleReader {
  readonly #walker: BundleWalker;
  readonly #resource: ResourceBuffer;
  readonly #maxRecord: number;
  readonly #events: WholeEvents;
  readonly #bytes = Buffer.allocUnsafeSlow(inletBytes);
  #held = 0;

  constructor(resource: ResourceBuffer, maxRecord: number, events: WholeEvents) {
    this.#walker = new BundleWalker(resource, maxRecord, events);
    this.#resource = resource;
    this.#maxRecord = maxRecord;
    this.#events = events;
  }

  /** @throws PipelineError `source-bad-data` */
  push(piece: Uint8Array): void {
    for (let from = 0; from < piece.length;) {
      const to = Math.min(piece.length, from + inletBytes - this.#held);
      this.#bytes.set(new Uint8Array(piece.buffer, piece.byteOffset + from, to - from), this.#held);
      this.#held += to - from;
      from = to;
      if (this.#held >= enoughBytes) this.#read(false);
    }
  }

  /** Takes what is held, though an entry may be cut. @throws PipelineError `source-bad-data` */
  flush(): void {
    this.#read(true);
  }

  /** The Bundle after its last byte; an empty string stands for each entry. @throws PipelineError `source-bad-data` */
  finish(): string {
    this.flush();
    return this.#walker.finish();
  }

  #read(isAll: boolean): void {
    const bytes = this.#bytes.subarray(0, this.#held);
    takeMachine().memory.set(bytes, inletAt);
    let enters = false;
    for (let at = 0; (at = this.#walker.walk(bytes, at, enters)) < bytes.length;) {
      const end = this.#takeEntry(at, bytes.length);
      enters = end === undefined;
      if (end === "cut") {
        enters = isAll || bytes.length - at > enoughBytes;
        if (enters) continue;
        this.#bytes.copyWithin(0, at, bytes.length);
        this.#held = bytes.length - at;
        return;
      }
      at = end ?? at;
    }
    this.#held = 0;
  }

  /** Where the entry ends that was taken; undefined for one that must be walked. */
  #takeEntry(at: number, length: number): number | "cut" | undefined {
    const machine = takeMachine();
    const { exports, found, memory } = machine;
    const end = exports.readEntry(inletAt + at, inletAt + length);
    if (end === 0) return "cut";
    if (end === isUnusual) return undefined;
    const [from, to] = [found[slots.resource]!, found[slots.resource + 1]!];
    const resource = to - from > this.#maxRecord ? undefined : foundIn(machine);
    if (!resource || !isUtf8(new Uint8Array(memory.buffer, from, to - from))) return undefined;
    const mode = machine.valueAt(slots.mode);
    if (found[slots.spaces] === 0) this.#resource.append(memory, from, to);
    else this.#resource.append(memory, textAt, exports.compact(from, to, textAt));
    this.#walker.passEntry();
    this.#events.onWhole(resource, mode);
    return end - inletAt;
  }
}
