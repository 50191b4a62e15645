/** The ways from a FHIR server to an export, and what an export comes back to: its resources, by type and id. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { definePipeline, type Pipeline } from "../../src/pipeline/define.ts";
import { run, type RunOptions } from "../../src/pipeline/run.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { fhir } from "../../src/stages/sources/fhir.ts";
import { fhirBulk } from "../../src/stages/sources/fhir-bulk.ts";
import { PipelineError } from "../../src/errors.ts";
import { signEnv } from "../source/pipeline.ts";

/** Texts of resources by `type/id`. */
export type Resources = ReadonlyMap<string, string>;

export interface Way {
  readonly name: string;
  readonly source: ReturnType<typeof fhir>;
  /** The run is stopped in its midst, and taken up again. */
  readonly isStopped?: true;
  /** Brings only what these resources name, besides them. */
  readonly only?: string;
}

export interface Asked {
  readonly url: string;
  readonly types: readonly string[];
  readonly token: string | undefined;
  readonly random: () => number;
  readonly bulk: boolean;
}

const shared = ({ url, token }: Asked) => ({
  url,
  maxRecord: "8MiB",
  ...(token !== undefined && { auth: { token } }),
});

/** The way that all others are compared with: plain pages. */
export const plainWay = (asked: Asked): Way => ({
  name: "plain pages",
  source: fhir({ ...shared(asked), search: [...asked.types] }),
});

/** All others; `instants` are when resources were stored, as far as the server says. */
export function otherWays(asked: Asked, instants: readonly string[]): readonly Way[] {
  const { types, random } = asked;
  const some = (most: number) => 1 + Math.floor(random() * most);
  const settings = shared(asked);
  const search = types.map((type) => `${type}?_sort=_lastUpdated`);
  const bounds = [0, 1].flatMap(() => instants[some(instants.length) - 1] ?? []);
  const lastUpdated = [...new Set(bounds.map((it) => new Date(it).toISOString()))].sort();
  const ways: Way[] = [
    { name: "small pages, sorted", source: fhir({ ...settings, search, count: some(40) }) },
    { name: "searches by POST", source: fhir({ ...settings, search: [...types], post: true }) },
    {
      name: "stopped and taken up",
      source: fhir({ ...settings, search, count: 20 }),
      isStopped: true,
    },
  ];
  if (lastUpdated.length > 0)
    ways.push({
      name: "windows of _lastUpdated",
      source: fhir({ ...settings, search: [...types], count: some(100), lastUpdated, parallel: 3 }),
    });
  if (types.includes("Observation"))
    ways.push({
      name: "_include",
      source: fhir({ ...settings, search: "Observation?_include=Observation:subject" }),
      only: "Observation/",
    });
  if (asked.bulk)
    ways.push({
      name: "bulk export",
      source: fhirBulk({ ...settings, export: "system", types: [...types] }),
    });
  return ways;
}

/** Goes a way to its committed end, and back. */
export async function takeWay(way: Way, home: string, random: () => number): Promise<Resources> {
  const pipeline = definePipeline({
    name: "fhir",
    memory: "512MiB",
    sign: "${env:SIGN_KEY}",
    stages: [
      way.source,
      serialize("ndjson"),
      chunk("16KiB"),
      compress("zstd"),
      encrypt({ mode: "none" }),
      spool({ dir: join(home, "spool") }),
      upload({ to: join(home, "out") }),
    ],
  });
  if (way.isStopped) await runAndStop(pipeline, random);
  const { destination, rows } = await run(pipeline, { env: signEnv });
  const { files = [] } = await restoreExport(destination, {
    to: { folder: join(home, "restored"), by: "resourceType" },
  });
  const resources = new Map<string, string>();
  for (const { file, value } of files) {
    for (const text of (await readFile(file, "utf8")).split("\n").slice(0, -1))
      resources.set(`${value}/${(JSON.parse(text) as { id?: string }).id}`, text);
  }
  if (resources.size !== rows)
    throw new Error(`${rows} records hold ${resources.size} different resources`);
  return resources;
}

/** Stops a run after some of its rows; one that is quicker commits. */
async function runAndStop(pipeline: Pipeline, random: () => number): Promise<void> {
  const stop = new AbortController();
  const share = random();
  const options: RunOptions = {
    env: signEnv,
    signal: stop.signal,
    onProgress: ({ rows, expectedRows = 0 }) => {
      if (rows > share * expectedRows) stop.abort(new PipelineError("stopped", "stopped"));
    },
  };
  await run(pipeline, options).catch((error: unknown) => {
    if (!(error instanceof PipelineError && error.code === "stopped")) throw error;
  });
}
