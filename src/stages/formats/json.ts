/** One JSON array, a row a line: `[`, then rows parted by commas, then `]`. Source: RFC 8259. */
import { createObjectWriters, writtenNames } from "./json-records.ts";
import type { Format } from "./format.ts";

const comma = new TextEncoder().encode(",\n");

export const json: Format = {
  extension: "json",
  namesOf: writtenNames,
  writer(goesOn = false) {
    const writerOf = createObjectWriters();
    let begun = goesOn;
    return {
      header(_batch, out) {
        out.text("[\n");
        out.end();
      },
      rows(batch) {
        const write = writerOf(batch);
        return (row, out) => {
          if (begun) out.bytes(comma);
          begun = true;
          write(row, out);
          out.end();
        };
      },
      footer(out) {
        out.text("\n]\n");
        out.end();
      },
    };
  },
};
