/** Long texts in parts: escaped as a whole, one is held twice more, in several times its length. */

/** UTF-16 units. Of a text whose quotes are doubled, the place of each is noted meanwhile, in 16 bytes. */
const partUnits = 4096;

/** The parts of a text, in order; none ends between the halves of a surrogate pair. */
export function* partsOf(text: string): Generator<string> {
  for (let start = 0, end = 0; start < text.length; start = end) {
    end = start + partUnits;
    if (isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    yield text.slice(start, end);
  }
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
