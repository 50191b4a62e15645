/** Who takes part in `bench/export`: the job in its forms, the shell pipelines, the textbook, and the source alone. */
import { join } from "node:path";
import type { Contender } from "./contest.ts";
import { peersOf } from "./export-peers.ts";
import { ndjsonOf, writeJob, type WrittenJob } from "./job.ts";

export interface Place {
  readonly folder: string;
  readonly url: string;
  readonly table: "results" | "obs";
  /** An age recipient. */
  readonly to: string;
  /** Where telemetry goes. */
  readonly otlp: string;
}

/** A job and what prints the same bytes. */
export interface Check {
  readonly name: string;
  readonly job: WrittenJob;
  readonly peer: string;
  /** The peer escapes backslashes. */
  readonly escaped?: boolean;
}

const textbook = join(import.meta.dirname, "textbook.ts");
const records = join(import.meta.dirname, "records.ts");

export async function contendersOf(place: Place) {
  const { folder, url, table } = place;
  const query = `select * from ${table}`;
  const telemetry = { otlp: place.otlp };
  const job = (name: string, stages: readonly object[], more: object = {}) =>
    writeJob(folder, { name, records: stages, to: place.to, telemetry, ...more });
  const ndjson = await job("ndjson", ndjsonOf(url, query));
  const double = await job("ndjson-2", ndjsonOf(url, query), { page: "2MiB", memory: "100MiB" });
  const wide = await job("ndjson-4", ndjsonOf(url, query), { page: "4MiB", memory: "128MiB" });
  const csv = await job("csv", [{ postgres: { url, query } }, { serialize: "csv" }]);
  const copy = await job("copy", [{ "postgres-copy": { url, query, format: "csv" } }]);

  const psql = (sql: string) => `psql -X -q '${url}' -c "${sql}"`;
  const printed = {
    json: psql(`copy (select row_to_json(t) from ${table} t) to stdout`),
    csv: psql(`copy (${query}) to stdout (format csv, header)`),
    text: psql(`copy (${query}) to stdout`),
    binary: psql(`copy (${query}) to stdout (format binary)`),
  };
  const parts = join(folder, "parts");
  const tail = `age -r ${place.to} | split -b 1M - ${parts}/part- && rm -f ${parts}/part-*`;
  const shell = (form: keyof typeof printed, level: number, name: string): Contender => ({
    name: `psql COPY ${name} | zstd -${level} | age | split`,
    script: `${printed[form]} | zstd -q -${level} | ${tail}`,
  });
  const thrown = (form: keyof typeof printed): Contender => ({
    name: `psql COPY ${form} > /dev/null`,
    script: `${printed[form]} > /dev/null`,
  });
  const ours = (name: string, { script, out }: WrittenJob): Contender => ({
    name: `spillway: ${name}, zstd -1, age, checked, durable, signed`,
    script,
    leaves: out,
  });
  const source = join(folder, "source.json");
  const book = join(folder, "textbook");

  const always = {
    ours: ours("ndjson, pages of 1 MiB", ndjson),
    double: ours("ndjson, pages of 2 MiB", double),
    wide: ours("ndjson, pages of 4 MiB", wide),
    jsonShell: shell("json", 1, "row_to_json"),
    textbook: {
      name: "textbook: pg-query-stream, JSON lines, gzip, cipher",
      script: `${process.execPath} ${textbook} '${url}' '${query}' ${book}`,
      leaves: book,
    },
    source: {
      name: "spillway: the source alone, records to nowhere",
      script: `${process.execPath} ${records} --run wire --url '${url}' --query '${query}' > ${source}`,
      ownSeconds: source,
    },
    binaryNull: thrown("binary"),
  };
  const checkedJson: Check = { name: "ndjson", job: ndjson, peer: printed.json, escaped: true };
  if (table === "obs") {
    const contenders: Readonly<Record<string, Contender>> = {
      ...always,
      textShell: shell("text", 1, "text"),
      textNull: thrown("text"),
    };
    return { contenders, checks: [checkedJson] };
  }
  const contenders: Readonly<Record<string, Contender>> = {
    ...always,
    jsonShell3: shell("json", 3, "row_to_json"),
    csv: ours("csv, pages of 1 MiB", csv),
    copy: ours("postgres-copy csv, pages of 1 MiB", copy),
    csvShell: shell("csv", 1, "csv"),
    csvShell3: shell("csv", 3, "csv"),
    csvNull: thrown("csv"),
    ...peersOf({ folder, url, query, csv: printed.csv }),
  };
  const checks: Check[] = [
    checkedJson,
    { name: "csv", job: csv, peer: printed.csv },
    { name: "copied csv", job: copy, peer: printed.csv },
  ];
  return { contenders, checks };
}
