/**
 * Listings come as XML. These few lines read the flat part of it that stores send: elements without children, by name,
 * whatever their namespace's prefix; entities, but for those a document declares itself.
 */

/** The content of each element of that name, in order; undefined where one does not end. */
export function elementsOf(xml: string, name: string): string[] | undefined {
  const contents: string[] = [];
  const [open, close] = [`<${name}>`, `</${name}>`];
  // By hand: a pattern would look for the end of each one that has none, through all the rest.
  for (let at = xml.indexOf(open); at >= 0;) {
    const end = xml.indexOf(close, at);
    if (end < 0) return undefined;
    contents.push(xml.slice(at + open.length, end));
    at = xml.indexOf(open, end);
  }
  return contents;
}

/** The text of the first element of that name; undefined when there is none or it is not plain text. */
export function textOf(xml: string, name: string): string | undefined {
  const content = new RegExp(`<(?:\\w{1,20}:)?${name}(?:\\s[^<>]*)?>([^<]*)</`).exec(xml)?.[1];
  return content === undefined ? undefined : decodeEntities(content);
}

const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeEntities(text: string): string | undefined {
  let isText = true;
  const decoded = text.replaceAll(/&([^;&]*);?/g, (_, name: string) => {
    const digits = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(name);
    const point = digits ? Number.parseInt(digits[1] ?? digits[2] ?? "", digits[1] ? 16 : 10) : -1;
    const known = Object.hasOwn(entities, name) ? entities[name] : undefined;
    const char = point >= 0 && point <= 0x10ffff ? String.fromCodePoint(point) : known;
    isText &&= char !== undefined;
    return char ?? "";
  });
  return isText ? decoded : undefined;
}
