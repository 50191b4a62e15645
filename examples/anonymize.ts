/**
 * A function over rows for `map`: the name goes, the date of birth becomes a year, rows that object are left out.
 * Give a row back to keep it, `null` to drop it, a generator for several; the function may be async.
 */
import type { Row } from "../src/index.ts"; // in a project of your own: from "spillway"

export default function anonymize({ name: _name, born, consent, ...rest }: Row): Row | null {
  if (consent === false) return null;
  return { ...rest, born: typeof born === "string" ? born.slice(0, 4) : null };
}
