/** Values that more than one database gives in the same form, as texts that lose nothing. */
import { PipelineError } from "../../errors.ts";
import { isJson } from "../formats/json-text.ts";

export const printNumber = (value: number): string => (Object.is(value, -0) ? "-0" : String(value));

/** Below it a FLOAT has less than its six digits. */
const leastNormalFloat = 2 ** -126;

/** The fewest digits that make the same 32 bits: six of them always come back from a FLOAT, nine always lead to it. */
export function printFloat(value: number): string {
  const least = Math.abs(value) < leastNormalFloat ? 1 : 6;
  for (let digits = least; digits <= 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return printNumber(value === 0 ? value : short);
  }
  return printNumber(value);
}

/**
 * Prints JSON as it is stored.
 * @param engine what takes `lax` for JSON, and makes a text of it by a cast to `cast`
 * @throws PipelineError `source-bad-data` for what the engine alone takes for JSON: nobody could read the export
 */
export const jsonOf =
  (engine: string, lax: string, cast: string) =>
  (value: string): string => {
    if (isJson(value)) return value;
    throw new PipelineError(
      "source-bad-data",
      `a value of type JSON is none, though ${engine} takes it (${lax}); expected JSON, or a cast to ${cast} in \`query\``,
    );
  };
