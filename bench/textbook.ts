/** The program one would write first: rows as objects from a query stream, JSON lines, gzip, a cipher, a file. */
import { createCipheriv, randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { Client } from "pg";
import QueryStream from "pg-query-stream";

const [url, query, path] = process.argv.slice(2);
const client = new Client({ connectionString: url! });
await client.connect();
const rows = client.query(new QueryStream(query!, [], { batchSize: 1000, highWaterMark: 1000 }));

/** One write into zlib for every row would take ten times as long. */
async function* lines(input: AsyncIterable<object>) {
  let text = "";
  for await (const row of input) {
    text += `${JSON.stringify(row)}\n`;
    if (text.length > 65_536) {
      yield text;
      text = "";
    }
  }
  yield text;
}

const cipher = createCipheriv("aes-256-gcm", randomBytes(32), randomBytes(12));
await pipeline(rows, lines, createGzip({ level: 1 }), cipher, createWriteStream(path!));
await client.end();
