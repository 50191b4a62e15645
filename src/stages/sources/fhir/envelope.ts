/** The text of a Bundle around its resources: small, and bounded all the same. */
import { PipelineError } from "../../../errors.ts";

/** An entry without its resource is some hundred bytes, a Bundle without its entries two for each of them. */
const mostEnvelopeBytes = 4 * 1024 * 1024;
const initialBytes = 4096;
const [openObject, comma, quote] = [0x7b, 0x2c, 0x22];

/** What stands for an entry in its list, and for its resource: what follows can make no other value of a string. */
export const standIn = "";

export interface Envelope {
  append(chunk: Uint8Array, start: number, end: number): void;
  /** Puts what stands for a value that is told apart. */
  putStandIn(): void;
  /** Whether a member's name ends here that is written as `key`, its quotes included. */
  endsWithKey(key: Buffer): boolean;
  /** The text so far; afterwards it is empty. */
  take(): string;
}

export function createEnvelope(): Envelope {
  let bytes = Buffer.allocUnsafeSlow(initialBytes);
  let length = 0;

  const makeRoom = (more: number) => {
    const needed = length + more;
    if (needed <= bytes.length) return;
    if (needed > mostEnvelopeBytes) {
      const told = `holds more than ${mostEnvelopeBytes} bytes beside its resources`;
      throw new PipelineError("source-bad-data", `${told}; expected a smaller page, see \`count\``);
    }
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes.length * 2, needed));
    bytes.copy(larger, 0, 0, length);
    bytes = larger;
  };

  return {
    append(chunk, start, end) {
      makeRoom(end - start);
      bytes.set(new Uint8Array(chunk.buffer, chunk.byteOffset + start, end - start), length);
      length += end - start;
    },
    putStandIn() {
      makeRoom(2);
      bytes[length++] = quote;
      bytes[length++] = quote;
    },
    endsWithKey(key) {
      const start = length - key.length;
      if (start < 1 || key.compare(bytes, start, length) !== 0) return false;
      return bytes[start - 1] === openObject || bytes[start - 1] === comma;
    },
    take() {
      const text = bytes.toString("utf8", 0, length);
      length = 0;
      return text;
    },
  };
}
