/** The value of a JSON text; undefined where it is none. The parser's own message may quote a resource, so nobody hears it. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
