/** Programs that people use instead, where this machine has them: they take part in `bench/fhir`, each with what it can do. */
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FhirContender, Reading } from "./fhir-contender.ts";

const has = (program: string) => spawnSync("which", [program]).status === 0;

/**
 * `smart-fetch` (PyPI) is SMART's own: `bulk` is their client of bulk exports, `crawl` searches for the resources of each
 * patient, here of one who has them all, in pages as large as the server likes. Both leave NDJSON in a folder.
 */
export async function peersOf(
  { mode, count }: Reading,
  base: string,
  folder: string,
): Promise<FhirContender[]> {
  const isPaged = mode === "search" && count === 1000;
  if (!has("smart-fetch") || (mode === "search" && !isPaged)) return [];
  const cohort = join(folder, "Patient.ndjson");
  await writeFile(cohort, '{"resourceType":"Patient","id":"1"}\n');
  const leaves = join(folder, "smart-fetch");
  const all = `--fhir-url ${base} --type Observation --no-default-filters --no-compression ${leaves}`;
  const verb = isPaged ? `crawl --source-dir ${folder}` : "bulk";
  return [
    {
      name: `smart-fetch ${verb.split(" ")[0]!}, to files`,
      script: `smart-fetch ${verb} ${all} > /dev/null`,
      leaves,
      given: () => countLines(leaves),
    },
  ];
}

function countLines(folder: string): number {
  const { stdout } = spawnSync("bash", ["-c", `cat ${folder}/Observation*.ndjson | wc -l`]);
  return Number(stdout.toString());
}
