/** NDJSON: one JSON object a line, `\n` after each. Source: https://github.com/ndjson/ndjson-spec */
import { createObjectWriters, writtenNames } from "./json-records.ts";
import type { Format } from "./format.ts";

const lineFeed = new TextEncoder().encode("\n");

export const ndjson: Format = {
  extension: "ndjson",
  namesOf: writtenNames,
  writer() {
    const writerOf = createObjectWriters();
    return {
      header() {},
      rows(batch) {
        const write = writerOf(batch);
        return (row, out) => {
          write(row, out);
          out.bytes(lineFeed);
          out.end();
        };
      },
      footer() {},
    };
  },
};
