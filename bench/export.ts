/**
 * How fast, and in how much memory, is the whole job against what people use instead?
 *
 *   node bench/export.ts [--table results|obs] [--rows n] [--runs 5] [--url postgres://…]
 *
 * `results` are laboratory results, `obs` FHIR-like Observations in jsonb; about 1 GB of NDJSON each when no rows are asked
 * for. Ours: compressed, encrypted, opened again, durable, signed, with telemetry (light) going to a receiver. The peers:
 * `psql COPY | zstd | age | split` (stock tools, no fsync, no checks), the textbook Node program, and `rclone` and `sling` where they
 * are installed.
 * All take turns; medians; ratios are medians of each round's ratio. Before that, ours is decrypted by stock tools and must
 * be the peers' bytes. PostgreSQL comes from npm, or is one on this machine that has the table (`--url`).
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createKey } from "../test/fixtures/keys.ts";
import { startOtlpReceiver } from "../test/servers/otlp-receiver.ts";
import { contest } from "./contest.ts";
import { contendersOf } from "./export-contenders.ts";
import { printContest, printGoals } from "./export-tables.ts";
import { buildWhenChanged } from "./job.ts";
import { compareBytes, undoCopy } from "./same-bytes.ts";
import { askServer, openServer } from "./server.ts";
import { createTable, tableOf } from "./tables.ts";

const { values } = parseArgs({
  options: {
    table: { type: "string", default: "results" },
    rows: { type: "string" },
    runs: { type: "string", default: "5" },
    url: { type: "string" },
  },
});
const runs = Number(values.runs);
const asked = tableOf(values.table, values.rows);
buildWhenChanged();
const folder = await mkdtemp(join(tmpdir(), "spillway-bench-"));
const receiver = await startOtlpReceiver();
const server = await openServer(values.url);
try {
  if (!values.url) await createTable(server.url, asked);
  const rows = Number(await askServer(server.url, `select count(*) from ${asked.name}`));
  const env = { XDG_STATE_HOME: join(folder, "state") };
  await mkdir(join(folder, "parts"));
  const keys = await createKey();
  const { url } = server;
  const place = { folder, url, table: asked.name, to: keys.recipient, otlp: receiver.url };
  const { contenders, checks } = await contendersOf(place);

  let bytes = 0;
  for (const { job, peer, name, escaped } of checks) {
    const whole = escaped ? `${peer} | ${undoCopy}` : peer;
    const compared = await compareBytes({
      folder,
      yaml: job.yaml,
      identity: keys.identity,
      peer: whole,
      env,
    });
    await rm(job.out, { recursive: true, force: true });
    if (name === "ndjson") bytes = compared.bytes;
    process.stdout.write(
      `The ${name} is the server's, byte for byte: sha256 ${compared.digest}.\n`,
    );
  }
  const rounds = await contest(contenders, runs, { server, env });
  const size = { rows, bytes };
  const cores = `${cpus().length} cores with the server on them`;
  process.stdout.write(
    `\nTable ${asked.name}: ${rows} rows, ${(bytes / 1e6).toFixed(0)} MB as NDJSON; medians of ${runs} runs; ` +
      `${cores}; Node ${process.version}. MB/s are of NDJSON, whatever is written.\n\n`,
  );
  printContest(contenders, rounds, size);
  printGoals(asked.name, rounds, size);
} finally {
  await server.stop();
  await receiver.close();
  await rm(folder, { recursive: true, force: true });
}
