/** NDJSON: one JSON object a line, `\n` after each. Source: https://github.com/ndjson/ndjson-spec */
import { createJsonRecords, writtenNames } from "./json-records.ts";
import type { Format } from "./format.ts";

export const ndjson: Format = {
  extension: "ndjson",
  namesOf: writtenNames,
  writer() {
    const records = createJsonRecords();
    return {
      header() {},
      write: (batch, out) => records(batch, (record) => out.add(record + "\n")),
      footer() {},
    };
  },
};
