/**
 * How the value of a column becomes part of a record. Known to both sides of the WebAssembly module (`assembly/`), so
 * nothing but numbers stands here.
 */

/** The server's text, quoted and escaped as JSON. */
export const jsonStringKind = 0;
/** The server's text of a float: a JSON number, but for NaN and the infinities. */
export const jsonFloatKind = 1;
/** JSON as stored; raw line breaks between its tokens become spaces. */
export const jsonLineKind = 2;
/** JSON that has no raw line breaks. */
export const jsonAsIsKind = 3;
/** The server's text as a field of CSV; alone in its record. */
export const csvTextKind = 4;
export const csvLoneTextKind = 5;

/** From here on the server sends its binary form, whose length is fixed but for the last two. */
const firstBinaryKind = 6;
export const booleanKind = 6;
export const int2Kind = 7;
export const int4Kind = 8;
export const int8Kind = 9;
export const uuidKind = 10;
export const dateKind = 11;
export const timestampKind = 12;
export const timestamptzKind = 13;
export const numericKind = 14;
export const byteaKind = 15;

export function isBinaryKind(kind: number): boolean {
  return kind >= firstBinaryKind;
}
