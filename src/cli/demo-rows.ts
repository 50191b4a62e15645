/**
 * Clinical-looking rows for the demo: the same every time, made by the server, with everything an export can trip
 * over: microseconds, numerics, quotes, line breaks, letters of many scripts, nulls and jsonb.
 */

/** The query that the demo exports. */
export const demoQuery = "select * from observation order by id";

/**
 * Statements, to be run one by one, that make the table `observation` and fill it.
 * @param rows number of rows, about 330 bytes of NDJSON each.
 */
export function demoStatements(rows = 300_000): readonly string[] {
  return [createTable, fillTable(rows), "analyze observation"];
}

const createTable = `
create unlogged table observation (
  id bigint primary key,
  patient uuid not null,
  effective timestamptz not null,
  code text not null,
  value numeric(12, 4),
  unit text,
  note text,
  payload jsonb,
  final boolean not null
)`;

const fillTable = (rows: number): string => `
insert into observation
select i,
       md5((i % 9973)::text)::uuid,
       timestamptz '2019-01-01 00:00:00+00' + i * interval '7 minutes 13.000017 seconds',
       (array['29463-7', '8302-2', '8867-4', '8480-6', '8462-4', '2339-0'])[1 + i % 6],
       case when i % 17 <> 0 then round(
         ((array[78, 171, 74, 124, 79, 101])[1 + i % 6] + (array[22, 14, 19, 21, 12, 28])[1 + i % 6] * sin(i))::numeric,
         1 + i % 4) end,
       (array['kg', 'cm', '/min', 'mm[Hg]', 'mm[Hg]', 'mg/dL'])[1 + i % 6],
       (array[
         null,
         'measured at rest',
         E'first line\\nsecond line\\twith a tab',
         'patient says "fine", ward O''Hara, C:\\data',
         'größer als üblich; 測定済み; измерено; ✓ 🩺'
       ])[1 + i % 5],
       case when i % 11 <> 0 then jsonb_build_object(
         'device', 'scale-' || i % 200,
         'status', case when i % 50 = 0 then 'amended' else 'final' end,
         'components', jsonb_build_array(i % 140, round((i % 900) / 10.0, 1), null)
       ) end,
       i % 50 <> 0
from generate_series(1, ${Math.trunc(rows)}) as s(i)`;
