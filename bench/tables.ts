/** Tables the benchmarks export. */
import { askServer } from "./server.ts";

export interface BenchTable {
  readonly name: "results" | "obs";
  readonly rows: number;
}

/** So many rows make about 1 GB of NDJSON. */
export const gigabyteRows = { results: 3_700_000, obs: 1_000_000 } as const;

/**
 * `results`, laboratory results: identifiers, times with microseconds, numerics, texts with quotes and unicode, nulls,
 * jsonb; about 270 bytes of JSON a row.
 * `obs`, FHIR-like Observations: about 1 KB of jsonb a row.
 */
export async function createTable(url: string, { name, rows }: BenchTable): Promise<void> {
  const select = name === "results" ? results : observations;
  const from = `from generate_series(1, ${rows}) i`;
  await askServer(url, `create table ${name} as ${select} ${from}`);
  await askServer(url, `vacuum (analyze, freeze) ${name}`);
}

/** The name of a table, and how many rows it is to have where none are asked for. */
export function tableOf(name: string, rows: string | undefined): BenchTable {
  if (name !== "results" && name !== "obs")
    throw new Error(`--table ${name}: expected results or obs`);
  return { name, rows: rows === undefined ? gigabyteRows[name] : Number(rows) };
}

const results = `
  select i::bigint as id, md5(i::text)::uuid as patient,
         timestamptz '2024-01-01' + i * interval '1.000001 seconds' as effective,
         (i % 1000)::int as sequence, round(i / 7.0, 4) as value, 'mmol/L' as unit,
         '29463-' || i % 10 as code,
         case when i % 3 = 0 then null else repeat('Größe "' || i || '" \\ ', 1 + i % 4) end as note,
         jsonb_build_object('status', 'final', 'n', i) as payload`;

const observations = `
  select i::bigint as id, jsonb_build_object(
    'resourceType', 'Observation', 'id', md5(i::text), 'status', 'final',
    'meta', jsonb_build_object('versionId', '1', 'lastUpdated', '2024-03-01T08:15:00Z',
      'profile', jsonb_build_array('http://hl7.org/fhir/StructureDefinition/vitalsigns')),
    'category', jsonb_build_array(jsonb_build_object('coding', jsonb_build_array(jsonb_build_object(
      'system', 'http://terminology.hl7.org/CodeSystem/observation-category',
      'code', 'vital-signs', 'display', 'Vital Signs')))),
    'code', jsonb_build_object('coding', jsonb_build_array(jsonb_build_object(
      'system', 'http://loinc.org', 'code', '29463-' || i % 10, 'display', 'Body Weight'))),
    'subject', jsonb_build_object('reference', 'Patient/' || md5((i % 9973)::text)),
    'encounter', jsonb_build_object('reference', 'Encounter/' || md5((i / 7)::text)),
    'effectiveDateTime', timestamp '2024-01-01' + i * interval '61.003 seconds',
    'issued', timestamp '2024-01-01' + i * interval '61.003 seconds' + interval '5 minutes',
    'performer', jsonb_build_array(jsonb_build_object('reference', 'Practitioner/' || md5((i % 311)::text))),
    'valueQuantity', jsonb_build_object('value', round((40 + i % 900) / 7.0, 2), 'unit', 'kg',
      'system', 'http://unitsofmeasure.org', 'code', 'kg'),
    'note', jsonb_build_array(jsonb_build_object('text', 'gemessen "' || i || '" größer als üblich'))
  ) as resource`;
