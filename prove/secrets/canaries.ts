/**
 * Secrets that exist once in the world, and a scanner that knows them again: in any of the forms below, and any eight
 * characters of them in a row.
 */

export interface Canary {
  readonly name: string;
  /** What stands in the place of the secret; empty for bytes that are no text. */
  readonly text: string;
  readonly bytes: Buffer;
}

export interface Hit {
  readonly canary: string;
  readonly form: string;
  readonly offset: number;
}

export interface Scanner {
  /** Patterns looked for at every byte. */
  readonly patterns: number;
  /** What was found, each canary and form once. */
  scan(bytes: Uint8Array): Hit[];
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const shortest = 8;

/** Letters and digits alone, for places that take no others. */
export function plainCanary(name: string, random: () => number): Canary {
  return textCanary(name, word(24, random));
}

/** With all that is escaped somewhere. */
export function wildCanary(name: string, random: () => number): Canary {
  return textCanary(name, `${word(12, random)}"\\/+% <ü>&${word(12, random)}`);
}

export const textCanary = (name: string, text: string): Canary => ({
  name,
  text,
  bytes: Buffer.from(text),
});

function word(length: number, random: () => number): string {
  return Array.from({ length }, () => letters[Math.floor(random() * letters.length)]).join("");
}

/** Every eight characters of a canary, in every form a sink may hold them in. */
export function* formsOf({ text, bytes }: Canary): Generator<readonly [form: string, Buffer]> {
  for (const part of windows(bytes, shortest)) {
    yield ["plain", part];
    yield ["hex", Buffer.from(part.toString("hex"))];
    yield ["hex in capitals", Buffer.from(part.toString("hex").toUpperCase())];
  }
  for (const alphabet of ["base64", "base64url"] as const)
    for (let shift = 0; shift < 3; shift += 1) {
      // The first and the last group depend on what stands beside the canary.
      const shifted = Buffer.concat([Buffer.alloc(shift), bytes]).toString(alphabet);
      const whole = shifted.slice(4, Math.floor((bytes.length + shift) / 3) * 4);
      for (const part of windows(Buffer.from(whole), shortest)) yield [alphabet, part];
    }
  for (let at = 0; at + shortest <= text.length; at += 1) {
    const part = text.slice(at, at + shortest);
    const json = JSON.stringify(part).slice(1, -1);
    const wide = Buffer.from(part, "utf16le");
    yield ["url", Buffer.from(encodeURIComponent(part))];
    yield ["form", Buffer.from(encodeURIComponent(part).replaceAll("%20", "+"))];
    yield ["json", Buffer.from(json)];
    yield ["json in json", Buffer.from(JSON.stringify(json).slice(1, -1))];
    yield ["utf-16", wide];
    yield ["utf-16, big end first", Buffer.from(wide).swap16()];
    yield ["latin-1", Buffer.from(part, "latin1")];
    yield ["csv", Buffer.from(part.replaceAll('"', '""'))];
  }
}

function* windows(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at + length <= bytes.length; at += 1) yield bytes.subarray(at, at + length);
}

interface Pattern {
  readonly canary: string;
  readonly form: string;
  readonly bytes: Buffer;
}

/** Looks for all patterns at once: three bytes choose few of them, which are then compared. */
export function createScanner(canaries: readonly Canary[]): Scanner {
  const byStart = new Map<number, Pattern[]>();
  const starts = new Uint8Array(2 ** 24);
  const known = new Set<string>();
  for (const canary of canaries)
    for (const [form, bytes] of formsOf(canary)) {
      const spelled = bytes.toString("latin1");
      if (known.has(spelled)) continue;
      known.add(spelled);
      const start = bytes.readUIntBE(0, 3);
      starts[start] = 1;
      byStart.set(start, [...(byStart.get(start) ?? []), { canary: canary.name, form, bytes }]);
    }
  return {
    patterns: known.size,
    scan(bytes) {
      const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const found = new Map<string, Hit>();
      let start = 0;
      for (let end = 0; end < all.length; end += 1) {
        start = ((start << 8) | all[end]!) & 0xffffff;
        if (starts[start] === 0 || end < 2) continue;
        const offset = end - 2;
        for (const { canary, form, bytes } of byStart.get(start) ?? [])
          if (all.subarray(offset, offset + bytes.length).equals(bytes))
            found.set(`${canary} ${form}`, { canary, form, offset });
      }
      return [...found.values()];
    },
  };
}
