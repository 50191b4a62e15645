/**
 * Proves that a FHIR server's resources come out the same whatever way they are read: the server is a real one, named by you.
 *
 *   npm run prove:fhir -- --url http://localhost:8080/fhir --types Patient,Observation --bulk
 *
 * Each way is a whole run, restored to a file for each type. The oracles: what the server counts, what it gives when a
 * resource is read by its id (byte for byte, but for white space), and all other ways. It only reads, unless `--put 500` has it store as
 * many made-up patients and observations first; they must come back with every digit. FHIR_TOKEN is a bearer token.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import {
  createPlainClient,
  makeResources,
  meaningOf,
  type PlainClient,
} from "./fhir/plain-client.ts";
import { otherWays, plainWay, takeWay, type Asked, type Resources, type Way } from "./fhir/ways.ts";
import { seededRandom } from "./seeded.ts";

export interface FhirTrials {
  readonly url: string;
  readonly types: readonly string[];
  /** Whether the server exports in bulk; it may take its time. */
  readonly bulk: boolean;
  /** Made-up resources to store first. */
  readonly put: number;
  /** Resources to read by their id. */
  readonly reads: number;
  readonly seed: number;
  readonly token?: string | undefined;
  readonly onTrial?: (line: string) => void;
}

export interface FhirReport {
  readonly trials: number;
  readonly seed: number;
  readonly failures: readonly string[];
  readonly resources: number;
}

/** Every way is a trial, and so is each comparison with what the server says of single resources. */
export async function proveFhir(options: FhirTrials): Promise<FhirReport> {
  const { url, types, bulk, put, reads, seed, token } = options;
  const random = seededRandom(seed);
  const asked: Asked = { url, types, token, random, bulk };
  const client = createPlainClient(url, token);
  const made = makeResources(put, seed);
  const home = await mkdtemp(join(tmpdir(), "spillway-fhir-"));
  const failures: string[] = [];
  let trials = 0;
  const trial = async (name: string, work: () => Promise<string | undefined>) => {
    trials += 1;
    const failure = await work().catch(String);
    if (failure !== undefined) failures.push(`${name}: ${failure}`);
    options.onTrial?.(`${name}: ${failure ?? "the same"}`);
  };
  const take = (way: Way) => takeWay(way, join(home, String(trials)), random);
  try {
    for (const [key, text] of made) await client.put(key, text);
    const plain = await take(plainWay(asked));
    await trial("what was stored", async () => compareMade(made, plain));
    await trial("read by id", () => compareReads(client, plain, reads, random));
    for (const way of otherWays(asked, [...plain.values()].flatMap(instantOf)))
      await trial(way.name, async () => compareWays(way, plain, await take(way)));
    return { trials, seed, failures, resources: plain.size };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

const instantOf = (text: string): string[] =>
  [(JSON.parse(text) as { meta?: { lastUpdated?: string } }).meta?.lastUpdated ?? []].flat();

/** Says which resource, never what it holds. */
function compareMade(made: Resources, plain: Resources): string | undefined {
  for (const [key, text] of made) {
    const stored = plain.get(key);
    if (stored === undefined) return `${key} was stored and did not come`;
    if (meaningOf(stored) !== meaningOf(text)) return `${key} came otherwise than it was stored`;
  }
  return undefined;
}

async function compareReads(
  client: PlainClient,
  plain: Resources,
  reads: number,
  random: () => number,
): Promise<string | undefined> {
  const keys = [...plain.keys()];
  for (let read = 0; read < reads && keys.length > 0; read += 1) {
    const [key = ""] = keys.splice(Math.floor(random() * keys.length), 1);
    const text = await client.read(key);
    if (squeeze(text) !== plain.get(key)) return `${key} is another one when it is read by its id`;
  }
  return undefined;
}

/** Without the white space between tokens. */
const squeeze = (json: string): string =>
  json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_all, string?: string) => string ?? "");

function compareWays(way: Way, plain: Resources, found: Resources): string | undefined {
  for (const [key, text] of found)
    if (plain.get(key) !== text && (way.only === undefined || plain.has(key)))
      return `${key} came otherwise than in plain pages`;
  const missing = [...plain.keys()].find(
    (key) => key.startsWith(way.only ?? "") && !found.has(key),
  );
  return missing === undefined ? undefined : `${missing} did not come`;
}

if (import.meta.main) {
  const given = readOptions({
    url: undefined,
    types: "Patient,Observation",
    bulk: false,
    put: 0,
    reads: 200,
  });
  const { url, types, ...rest } = given;
  if (url === undefined) throw new Error("expected --url, the base of a FHIR server");
  const report = await proveFhir({
    ...rest,
    url,
    types: types.split(","),
    token: process.env["FHIR_TOKEN"],
    onTrial: tellProgress,
  });
  const { trials, failures, seed, resources } = report;
  console.log(
    `${trials} trials, ${failures.length} failures, seed ${seed}; ${resources} resources`,
  );
  tellFailures(failures);
}
