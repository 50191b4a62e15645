/** One JSON array, a row a line: `[`, then rows parted by commas, then `]`. Source: RFC 8259. */
import { createJsonRecords, writtenNames } from "./json-records.ts";
import type { Format } from "./format.ts";

export const json: Format = {
  extension: "json",
  namesOf: writtenNames,
  writer() {
    const records = createJsonRecords();
    let before = "";
    return {
      header: (_batch, out) => out.add("[\n"),
      write: (batch, out) =>
        records(batch, (record) => {
          out.add(before + record);
          before = ",\n";
        }),
      footer: (out) => out.add("\n]\n"),
    };
  },
};
