/** The bounds of an export's range, as they lie in the spool: sealed, since they may be people's data. */
import { randomBytes } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import { createTextSealer } from "../pages/sealed-text.ts";

/** Both are the last row of an export: of the one before, and of this one. Null where there is none. */
export interface Bounds {
  /** Digest of the query, the columns and their database: bounds of another say nothing. */
  readonly of: string;
  readonly lower: readonly string[] | null;
  readonly upper: readonly string[] | null;
}

const saltBytes = 16;
const label = Buffer.from("watermark ");

export async function sealBounds(password: string, bounds: Bounds): Promise<string> {
  const salt = randomBytes(saltBytes);
  const sealer = await createTextSealer(password, Buffer.concat([label, salt]));
  return `${salt.toString("base64")} ${sealer.seal(JSON.stringify(bounds))}`;
}

export async function openBounds(password: string, written: string, of: string): Promise<Bounds> {
  const [salt = "", sealed = ""] = written.split(" ");
  const sealer = await createTextSealer(
    password,
    Buffer.concat([label, Buffer.from(salt, "base64")]),
  );
  const opened = sealer.open(sealed);
  if (opened === undefined) throw changed("the password that sealed its bound is another");
  const bounds = JSON.parse(opened) as Bounds;
  if (bounds.of !== of)
    throw changed("`query`, `params`, its columns, their types or the database are others");
  return bounds;
}

const changed = (what: string): PipelineError =>
  new PipelineError(
    "config-changed",
    `watermark: ${what} than in the last export, so nobody knows what is new; restore it, or remove carried-….json from the pipeline's folder in the spool to begin with all rows`,
  );
