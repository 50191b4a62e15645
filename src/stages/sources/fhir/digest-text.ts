/** Digests of texts that mean something in this process alone: SipHash under a key of chance, a tenth of what SHA-256 costs. */
import { hash } from "node:crypto";
import { digestAt, inletBytes, keyAt, takeMachine, textAt } from "./machine.ts";

/** A UTF-16 unit becomes three bytes of UTF-8 at most. */
const mostUnits = Math.floor(inletBytes / 3);

/** @param into 96 bits of it */
export function digestText(text: string, into: Uint32Array): void {
  const short = text.length > mostUnits ? hash("sha256", text) : text;
  const { exports, memory } = takeMachine();
  const bytes = memory.write(short, textAt);
  exports.digest(textAt, textAt + bytes, keyAt, digestAt);
  for (let i = 0; i < into.length; i += 1) into[i] = memory.readUInt32LE(digestAt + 4 * i);
}
