/**
 * Proves that a value leaves PostgreSQL, a file or SQLite as it is, or is refused by name: never changed.
 *
 *   npm run prove:values -- --trials 500 --seed 7
 *   npm run prove:values -- --seed 7 --trial 311        replays one trial
 *
 * A trial makes a table of random types, values and column names in a database of some encoding, under settings of a role
 * that nobody would expect, in a process of some time zone, and exports it along every path in every format. The oracle is
 * the server: what `row_to_json` and `COPY` print must come out byte for byte.
 */
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { PipelineError } from "../src/errors.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { type Chance, createChance, seedOf } from "./fuzz/chance.ts";
import { hasPython, proveFiles } from "./values/files.ts";
import {
  copyOf,
  outcomeOf,
  recordsOf,
  serverSays,
  withClient,
  type CopyFormat,
} from "./values/paths.ts";
import { chooseTable, encodings, makeDatabases, type Encoding } from "./values/databases.ts";
import { processZones, setOddly, type TrialTable } from "./values/tables.ts";

export interface ValueTrials {
  readonly trials: number;
  readonly seed: number;
  readonly from?: number;
  readonly onTrial?: (line: string) => void;
}

export interface ValueReport {
  readonly trials: number;
  readonly seed: number;
  readonly failures: readonly string[];
  /** Exports that were compared byte for byte. */
  readonly compared: number;
  /** Exports that were refused by name, as the server refused them, or for columns of one name. */
  readonly refused: number;
}

/** Runs trials one after another on one server; gives every failure with what was found. */
export async function proveValues({
  trials,
  seed,
  from = 0,
  onTrial,
}: ValueTrials): Promise<ValueReport> {
  const server = await startPostgres();
  const zone = process.env["TZ"];
  const counts = { compared: 0, refused: 0 };
  const failures: string[] = [];
  try {
    const urls = await makeDatabases(server.url);
    for (let trial = from; trial < from + trials; trial += 1) {
      const chance = createChance(seedOf(seed, "values", trial));
      process.env["TZ"] = chance.pick(processZones);
      const found = await runTrial({ urls, chance, counts }).catch((error: unknown) => [
        String(error),
      ]);
      failures.push(...found.map((what) => `trial ${trial}: ${what}`));
      onTrial?.(`trial ${trial}: ${found[0] ?? "exact"}`);
    }
  } finally {
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
    await server.stop();
  }
  return { trials, seed, failures, ...counts };
}

interface Trial {
  readonly urls: ReadonlyMap<Encoding, string>;
  readonly chance: Chance;
  readonly counts: { compared: number; refused: number };
}

async function runTrial(trial: Trial): Promise<readonly string[]> {
  const { urls, chance } = trial;
  if (chance.once(4)) return proveFiles(chance, trial.counts);
  const encoding = chance.pick(encodings);
  const url = urls.get(encoding)!;
  const { table, odd } = await withClient(url, async (client) => {
    await client.query("set client_encoding = 'UTF8'");
    const table = await chooseTable(client, encoding, chance);
    const odd = await setOddly(client, `values_${encoding}`, chance);
    return { table, odd };
  });
  const found = [
    ...(await comparePaths(trial, url, table)),
    ...(await compareCopies(trial, url, table)),
  ];
  return found.map((what) => `${what}; ${encoding}, ${odd}; ${table.query.slice(0, 300)}`);
}

/** Every path in every format against `row_to_json` and COPY. */
async function comparePaths({ chance, counts }: Trial, url: string, table: TrialTable) {
  const { query, names } = table;
  const ours = { url, query: query + table.end };
  const rows = await serverSays.rows(url, query);
  const csv = quoteMarked(await serverSays.copy(url, query, "csv"));
  const isUnique = new Set(names).size === names.length;
  // A row function sees an object, whose numbers among names stand first.
  const pageBytes = chance.pick([64, 4096, 2 ** 20]);
  const found: string[] = [];
  const check = async (what: string, work: Promise<Buffer>, expected: Buffer | undefined) => {
    const outcome = await outcomeOf(work);
    const verdict = isTooWide(outcome, table) ? undefined : judge(outcome, expected);
    if (verdict !== undefined) found.push(`${what}: ${verdict}`);
    else if (outcome instanceof PipelineError) counts.refused += 1;
    else counts.compared += 1;
  };
  const ndjson = rows && Buffer.from(rows.map((row) => `${row}\n`).join(""));
  const json = rows && Buffer.from(`[\n${rows.join(",\n")}\n]\n`);
  for (const path of ["wire", "row"] as const) {
    const asked = { ...ours, path, pageBytes };
    await check(`${path} ndjson`, recordsOf({ ...asked, format: "ndjson" }), ndjson);
    await check(`${path} json`, recordsOf({ ...asked, format: "json" }), json);
    await check(`${path} csv`, recordsOf({ ...asked, format: "csv" }), csv);
  }
  const mapped = recordsOf({ ...ours, path: "row", format: "ndjson", mapped: true });
  // Of columns that share a name an object has one; where no row came the refusal may come too late.
  if (isUnique || rows?.length) await check("mapped ndjson", mapped, isUnique ? ndjson : undefined);
  else await outcomeOf(mapped);
  if (!isUnique || names.length === 0 || table.types.length === 0) return found;
  const columns = names.filter(() => chance.once(2));
  const some = columns.length > 0 ? columns : names.slice(0, 1);
  const picked = some.map((name) => `"${name.replaceAll('"', '""')}"`).join(", ");
  const part = `select ${picked} from (${query}) q`;
  const expected = await serverSays.rows(url, part);
  for (const path of ["wire", "row"] as const)
    await check(
      `${path} select`,
      recordsOf({ ...ours, path, format: "ndjson", columns: some }),
      expected && Buffer.from(expected.map((row) => `${row}\n`).join("")),
    );
  return found;
}

/** What we quote and COPY does not: what begins with U+FEFF. */
function quoteMarked(csv: Buffer | undefined): Buffer | undefined {
  const fields = csv
    ?.toString("latin1")
    .replaceAll(/"[^"]*"|[^",\n]+/g, (field) =>
      field.startsWith("\xef\xbb\xbf") ? `"${field}"` : field,
    );
  return fields === undefined ? undefined : Buffer.from(fields, "latin1");
}

async function compareCopies({ counts }: Trial, url: string, { query, end }: TrialTable) {
  const found: string[] = [];
  for (const format of ["csv", "text", "binary"] satisfies CopyFormat[]) {
    const expected = await serverSays.copy(url, query, format);
    const outcome = await outcomeOf(copyOf(url, query + end, format));
    const verdict = judge(outcome, expected);
    if (verdict !== undefined) found.push(`copy ${format}: ${verdict}`);
    else if (outcome instanceof PipelineError) counts.refused += 1;
    else counts.compared += 1;
  }
  return found;
}

/** A row function needs a row whole: one that is too wide is refused by the column that makes it so. */
const isTooWide = (outcome: Buffer | PipelineError, { widest }: TrialTable): boolean =>
  outcome instanceof PipelineError &&
  widest !== undefined &&
  outcome.code === "source-bad-data" &&
  outcome.message.includes(`column "${widest}"`);

/** @returns what is wrong: other bytes, a refusal of what the server prints, or none of what it refuses */
function judge(outcome: Buffer | PipelineError, expected: Buffer | undefined): string | undefined {
  if (outcome instanceof PipelineError)
    return expected === undefined ? undefined : `refused: ${outcome.code}: ${outcome.message}`;
  if (expected === undefined) return "the server refuses what was exported";
  if (outcome.equals(expected)) return undefined;
  let at = 0;
  while (outcome[at] === expected[at]) at += 1;
  const near = (bytes: Buffer) =>
    JSON.stringify(bytes.toString("utf8", Math.max(0, at - 40), at + 40));
  return `at ${at}, expected ${near(expected)} but found ${near(outcome)}`;
}

if (import.meta.main) {
  const values = readOptions({ trials: 200, trial: undefined });
  const one = values.trial === undefined ? undefined : Number(values.trial);
  const report = await proveValues({
    trials: one === undefined ? values.trials : 1,
    seed: values.seed,
    from: one ?? 0,
    onTrial: tellProgress,
  });
  if (!hasPython) process.stdout.write("without python3: files were compared with nothing else\n");
  tellFailures(report.failures);
  process.stdout.write(
    `${report.trials} trials, ${report.failures.length} failures, seed ${report.seed} ` +
      `(${report.compared} exports exact, ${report.refused} refused by name)\n`,
  );
}
