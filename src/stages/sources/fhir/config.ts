/** What both sources of FHIR are configured with, and what they hold. */
import * as v from "valibot";
import { count, duration, size, text } from "../../atoms.ts";
import { maxRecordLimit } from "../ndjson.ts";
import { auth, httpUrl } from "./auth.ts";
import { batchBytes } from "./harvest.ts";
import { seenBytes } from "./seen.ts";

export const list = <Schema extends v.GenericSchema<string, string>>(item: Schema) =>
  v.array(item, "expected a list");

export const date = v.pipe(
  text,
  v.regex(
    /^\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?)?)?$/,
    "expected a date or an instant such as 2026-01-01T00:00:00Z",
  ),
);

export const serverConfig = {
  url: v.pipe(httpUrl, v.description("base URL of the FHIR server (R4)")),
  auth: v.pipe(
    v.optional(auth),
    v.description("how the server knows this client; not at all when absent"),
  ),
  parallel: v.pipe(
    v.optional(v.pipe(count(1), v.maxValue(16, "expected at most 16")), 2),
    v.description("most searches, windows or files read at the same time"),
  ),
  maxRecord: v.pipe(
    v.optional(v.pipe(size, v.maxValue(maxRecordLimit, "expected at most 128MiB")), "1MiB"),
    v.description("bytes of one resource at most; a larger one is refused with its place"),
  ),
  timeout: v.pipe(
    v.optional(duration, "60s"),
    v.description("longest silence of the server: until it answers, and while it sends"),
  ),
};

/** What HTTP takes of a process, its code, buffers and garbage, and JavaScript's compiler: a run weighs so much more than one from a file. */
const clientBytes = 14 * 2 ** 20;

/**
 * Each lane has text that is not read yet, two batches of it, resources, for which four are room enough, and the resource
 * under way; one resource at a time is parsed.
 */
export const holdsOf = (lanes: number, maxRecord: number): number =>
  clientBytes + seenBytes + lanes * (6 * batchBytes + maxRecord) + 4 * maxRecord;
