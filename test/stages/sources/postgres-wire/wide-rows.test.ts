/** Values far larger than a page: they pass in parts, through little memory, to the end of the pipeline. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { PipelineError } from "../../../../src/errors.ts";
import { sharedPostgres } from "../../../servers/postgres.ts";
import { type Format, formats, openRecords } from "./wire-records.ts";

const pageBytes = 2 ** 20;

let url = "";

before(async () => {
  ({ url } = await sharedPostgres());
});

/** A value whose text is `unit` so many times, and what a record of it is. */
interface Wide {
  readonly sql: string;
  readonly start: string;
  readonly unit: string;
  readonly times: number;
  readonly end: string;
}

const text = (times: number): Wide => ({
  sql: `repeat('x"', ${times})`,
  start: '"',
  unit: String.raw`x\"`,
  times,
  end: '"',
});
const jsonb = (times: number): Wide => ({
  ...text(times),
  sql: `to_jsonb(repeat('x"', ${times}))`,
});
const bytea = (times: number): Wide => ({
  sql: `repeat('z', ${times})::bytea`,
  start: String.raw`"\\x`,
  unit: "7a",
  times,
  end: '"',
});

const queryOf = ({ sql }: Wide) => `select 1 as a, ${sql} as w, null as n, 2 as b`;

/** SHA-256 of the NDJSON record, made bit by bit. */
function digestOf({ start, unit, times, end }: Wide): string {
  const hash = createHash("sha256").update(`{"a":1,"w":${start}`);
  const block = 10_000;
  const many = unit.repeat(block);
  for (let left = times; left > 0; left -= block) {
    hash.update(left >= block ? many : unit.repeat(left));
  }
  return hash.update(`${end},"n":null,"b":2}\n`).digest("hex");
}

async function digestRecords(query: string, format: Format, apart: boolean) {
  const hash = createHash("sha256");
  let parts = 0;
  for await (const batch of openRecords({ url, query }, format, { apart, pageBytes })) {
    hash.update(batch.bytes);
    if (batch.bytes.length === 0 || batch.ends.length > 0) continue;
    parts += 1;
    assert.ok(batch.bytes.length > pageBytes && batch.bytes.length < 2 * pageBytes);
  }
  return { digest: hash.digest("hex"), parts };
}

describe("rows larger than a page", () => {
  for (const [name, wide] of Object.entries({
    "4 MB of text": text(2_000_000),
    "4 MB of jsonb": jsonb(2_000_000),
    "3 MB of bytea": bytea(3_000_000),
  })) {
    it(`pass in parts, and whole through the row path: ${name}`, async () => {
      const query = queryOf(wide);
      for (const format of formats) {
        const wire = await digestRecords(query, format, false);
        assert.ok(wire.parts >= 3);
        assert.deepEqual(await digestRecords(query, format, true), { ...wire, parts: 0 });
        if (format === "ndjson") assert.equal(wire.digest, digestOf(wide));
      }
    });
  }

  it("stand between usual rows without a byte out of place", async () => {
    const query =
      "select g, case when g % 7 = 3 then repeat('é,', 400000 + g) else 'usual' end as t from generate_series(1, 30) g";
    for (const format of formats) {
      const wire = await digestRecords(query, format, false);
      assert.equal(wire.digest, (await digestRecords(query, format, true)).digest);
    }
  });
});

const bin = fileURLToPath(new URL("../../../../bin/spillway.js", import.meta.url));
const run = promisify(execFile);

/** Exports the query with a budget of 128 MiB, in a process of its own; gives the summary and what restores. */
async function exportAndRestore(folder: string, query: string) {
  const env = { ...process.env, XDG_STATE_HOME: folder };
  const key = join(folder, "key.txt");
  await run(process.execPath, [bin, "keygen", "--out", key, "--quiet"], { env });
  const recipient = /age1\w+/.exec(await readFile(key, "utf8"))?.[0];
  const stages = [
    { postgres: { url, query, timeout: "10m" } },
    { serialize: "ndjson" },
    { chunk: pageBytes },
    { compress: "zstd" },
    { encrypt: { to: [recipient] } },
    { spool: { dir: join(folder, "spool") } },
    { upload: { to: `file://${folder}/out` } },
  ];
  // JSON is YAML.
  const pipeline = JSON.stringify({ name: "wide", memory: "128MiB", stages });
  await writeFile(join(folder, "wide.yaml"), pipeline);
  // A child of a shell, since Linux lets a process inherit the peak of the one that started it.
  const command = [process.execPath, bin, "run", join(folder, "wide.yaml"), "--json", "-q"];
  const exported = await run("sh", ["-c", '"$@"; exit $?', "sh", ...command], { env });
  const summary = JSON.parse(exported.stdout) as { rows: number; peakRssBytes: number };
  const args = [bin, "restore", join(folder, "out"), "--to", "-", "-q", "-i", key];
  const restore = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  const hash = createHash("sha256");
  for await (const part of restore.stdout) hash.update(part as Buffer);
  if (restore.exitCode === null) await once(restore, "exit");
  assert.equal(restore.exitCode, 0);
  return { ...summary, digest: hash.digest("hex") };
}

// Minutes, and gigabytes on the server: run with SPILLWAY_SLOW=1.
const slowly = process.env["SPILLWAY_SLOW"] ? describe : describe.skip;
slowly("rows larger than memory", function () {
  this.timeout(600_000);
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-wide-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  for (const [name, wide] of Object.entries({
    "20 MB of text": text(10_000_000),
    "20 MB of jsonb": jsonb(10_000_000),
    "100 MB of bytea": bytea(100_000_000),
    "500 MB of text": text(250_000_000),
    "1 GB of text": { ...text(1_000_000_000), sql: "repeat('x', 1000000000)", unit: "x" },
  })) {
    it(`pass through the whole pipeline in 150 MB and restore byte for byte: ${name}`, async () => {
      const { rows, peakRssBytes, digest } = await exportAndRestore(folder, queryOf(wide));
      console.log(`      peak RSS ${Math.round(peakRssBytes / 1e6)} MB`);
      assert.equal(rows, 1);
      assert.equal(digest, digestOf(wide));
      assert.ok(peakRssBytes < 150e6);
    });
  }

  it("are refused where the server cannot send them", async () => {
    for (const sql of ["repeat('x', 600000000)::bytea", "repeat('x', 1500000000)"]) {
      const read = digestRecords(`select ${sql} as w`, "ndjson", false);
      await assert.rejects(
        read,
        ({ code, message }: PipelineError) =>
          code.startsWith("source-") && /SQLSTATE/.test(message),
      );
    }
  });
});
