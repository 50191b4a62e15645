/**
 * The same in code: stages are calls, wiring is checked by the compiler, a function stands where rows are.
 *
 *   node code.ts rows.ndjson ./exports
 */
import {
  chunk,
  compress,
  definePipeline,
  encrypt,
  ndjson,
  readExport,
  run,
  serialize,
  spool,
  upload,
  type Row,
} from "../src/index.ts"; // in a project of your own: from "spillway"

const [path = "rows.ndjson", folder = "./exports"] = process.argv.slice(2);

const pipeline = definePipeline({
  name: "readings",
  memory: "128MiB",
  stages: [
    ndjson({ path }),
    (row: Row) => (row["value"] === null ? null : { ...row, checked: true }),
    serialize("ndjson"),
    chunk("1MiB"),
    compress("zstd"),
    encrypt("none"),
    spool({ dir: "./spool" }),
    upload({ to: folder }),
  ],
});

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const summary = await run(pipeline, { signal: stop.signal });
console.log(`${summary.rows} rows in ${summary.pages} pages at ${summary.destination}`);

for await (const row of readExport(summary.destination, { signer: summary.signer })) {
  console.log("the first:", row);
  break;
}
