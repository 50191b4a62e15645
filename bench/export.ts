/**
 * How fast, and in how much memory, is the whole job against what people use instead?
 *
 *   node bench/export.ts [--rows 1000000] [--runs 5]
 *
 * A table of results on a PostgreSQL from npm on this machine. Ours: every byte checked, durable, signed, telemetry off.
 * The peers: `psql COPY | zstd | age | split` (stock tools, no fsync, no checks) and the textbook Node program. All runs
 * alternate; medians; ratios within this run only.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { createKey } from "../prove/keys.ts";
import { measure, medians, type Measured } from "./measure.ts";
import { createResults } from "./tables.ts";

interface Contender {
  readonly name: string;
  readonly script: string;
}

const bin = join(import.meta.dirname, "..", "bin", "spillway.js");
const textbook = join(import.meta.dirname, "textbook.ts");

async function contenders(folder: string, url: string): Promise<Contender[]> {
  const { recipient } = await createKey();
  const yaml = join(folder, "export.yaml");
  const copied = join(folder, "copy.yaml");
  const query = "select * from results";
  const stages = (...source: object[]) => [
    ...source,
    { chunk: "1MiB" },
    { compress: "zstd" },
    { encrypt: { to: recipient } },
    { spool: join(folder, "spool") },
    { upload: join(folder, "out") },
  ];
  await writeFile(
    yaml,
    JSON.stringify({
      name: "bench",
      stages: stages({ postgres: { url, query } }, { serialize: "ndjson" }),
    }),
  );
  const csvCopy = { "postgres-copy": { url, query, format: "csv" } };
  await writeFile(copied, JSON.stringify({ name: "bench-copy", stages: stages(csvCopy) }));
  const ours = (file: string) =>
    `${process.execPath} ${bin} run ${file} --quiet && rm -rf ${folder}/out`;
  const tail = `age -r ${recipient} | split -b 1M - ${folder}/part- && rm ${folder}/part-*`;
  const copy = (sql: string) => `psql -X -q '${url}' -c "${sql}"`;
  const json = copy("copy (select row_to_json(t) from results t) to stdout");
  const csv = copy("copy results to stdout (format csv)");
  return [
    { name: "spillway, ndjson, zstd -1, age, fsync, manifest", script: ours(yaml) },
    {
      name: "psql COPY row_to_json | zstd -1 | age | split",
      script: `${json} | zstd -1 | ${tail}`,
    },
    { name: "spillway, COPY csv, zstd -1, age, fsync, manifest", script: ours(copied) },
    { name: "psql COPY csv | zstd -1 | age | split", script: `${csv} | zstd -1 | ${tail}` },
    { name: "psql COPY csv > /dev/null", script: `${csv} > /dev/null` },
    {
      name: "textbook: pg-query-stream, JSON lines, gzip, cipher",
      script: `${process.execPath} ${textbook} '${url}' ${folder}/textbook && rm ${folder}/textbook`,
    },
  ];
}

function print(results: readonly { name: string; measured: Measured }[], rows: number): void {
  const [ours] = results;
  const line = (cells: readonly string[]) => process.stdout.write(`| ${cells.join(" | ")} |\n`);
  line(["", "wall s", "krow/s", "CPU s", "peak MiB", "ours is faster by"]);
  line(["---", "---", "---", "---", "---", "---"]);
  for (const { name, measured } of results) {
    line([
      name,
      measured.seconds.toFixed(2),
      (rows / measured.seconds / 1000).toFixed(0),
      measured.cpuSeconds.toFixed(1),
      (measured.peakRssBytes / 2 ** 20).toFixed(0),
      `${(measured.seconds / ours!.measured.seconds).toFixed(2)} ×`,
    ]);
  }
}

const { values } = parseArgs({
  options: { rows: { type: "string", default: "1000000" }, runs: { type: "string", default: "5" } },
});
const rows = Number(values.rows);
const folder = await mkdtemp(join(tmpdir(), "spillway-bench-"));
const server = await startPostgres({ settings: { shared_buffers: "2GB" } });
try {
  await createResults(server.url, rows);
  const all = await contenders(folder, server.url);
  const runs = new Map<string, Measured[]>(all.map(({ name }) => [name, []]));
  for (let run = 0; run <= Number(values.runs); run += 1) {
    for (const { name, script } of all) {
      const measured = await measure(script, { XDG_STATE_HOME: join(folder, "state") });
      // The first round warms caches and is not counted.
      if (run > 0) runs.get(name)!.push(measured);
    }
  }
  print(
    all.map(({ name }) => ({ name, measured: medians(runs.get(name)!) })),
    rows,
  );
} finally {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}
