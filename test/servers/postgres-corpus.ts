/** Queries that bring up every type PostgreSQL has, and the types they need. */
import { corpusTypes } from "./corpus-types.ts";
import { runSql, sharedPostgres } from "./postgres.ts";

let made: Promise<unknown> | undefined;

/** The shared server with the types of the corpus made; gives its URL. */
export async function corpusPostgres(): Promise<string> {
  const { url } = await sharedPostgres();
  await (made ??= runSql(url, ...corpusTypes));
  return url;
}

export const typeQueries: Readonly<Record<string, string>> = {
  "whole numbers": `select 32767::int2, '-2147483648'::int4 as i, 9223372036854775807::int8 as b, 4294967295::oid as o, null::int8 as n`,
  numerics: `select 'NaN'::numeric, 'Infinity'::numeric as i, '-Infinity'::numeric as m,
    123456789012345678901234567890.000100::numeric as n, 0.00000000000000000001::numeric as small, 1e30::numeric as big, -0.0 as z`,
  floats: `select '-0'::float8, 'NaN'::float8 as n, 'Infinity'::float8 as i, '-Infinity'::float4 as m,
    5e-324::float8 as least, 1.7976931348623157e308::float8 as most, 0.1::float4 as f, 1e15::float8 as e, 1e22::float8 as g, 0.1::float8+0.2 as s`,
  booleans: "select true, false as f, null::bool as n",
  texts: `select E'quote " back \\\\ slash / tab \\t feed \\f back \\b bell \\x07 del \\x7f', E'two\\nlines\\r\\n' as b, '' as empty,
    'größer 測定 ✓ 🩺'::varchar as u, 'ab  '::char(6) as c, 'n'::name as n, 'x'::"char" as ch, E'\\u2028\\u00a0' as sep, null::text as nil`,
  dates: `select 'infinity'::date, '-infinity'::date as m, '0044-03-15 BC'::date as bc, '2024-02-29'::date as d, '12345-01-01'::date as far`,
  timestamps: `select 'infinity'::timestamp, '-infinity'::timestamptz as m, '0044-03-15 12:00:00.000001 BC'::timestamp as bc,
    '0044-03-15 12:00:00 BC'::timestamptz as bcz, '2024-02-29 23:59:59.999999+05:45'::timestamptz as z, '12345-01-01'::timestamp as far,
    '2024-01-01 00:00:00.1'::timestamp as tenth`,
  "times and intervals": `select '24:00'::time, '12:34:56.789012+05:30'::timetz as z, '1 year -2 mons 3 days -04:05:06.789'::interval as i,
    '0'::interval as zero`,
  "json as stored": `select '{"b": 1,  "a":[1 , 2],\n "a": 1.0}'::json, '{"b":1e400,"a":9007199254740993}'::jsonb as b, 'null'::json as n,
    '0.1000000000000000055'::jsonb as d, null::jsonb as nil, E'"\\\\u00e9\\\\n"'::json as s`,
  "bytes, bits, money, xml": `select '\\x00ff'::bytea, '10110'::bit(5) as b, '101'::varbit as vb, 1234.5::money as m,
    '<a b="c">\n</a>'::xml as x`,
  "network, text search, uuid": `select '10.0.0.1/8'::inet, '10.0.0.0/8'::cidr as c, '08:00:2b:01:02:03'::macaddr as m, '08:00:2b:01:02:03:04:05'::macaddr8 as m8,
    'a fat cat'::tsvector as v, 'fat & cat'::tsquery as q, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as u`,
  geometry: `select '(1,2)'::point, '[(0,0),(1,1)]'::lseg as l, '(1,1),(0,0)'::box as b, '((0,0),(1,1))'::path as p, '<(0,0),1>'::circle as c,
    '((0,0),(1,1),(1,0))'::polygon as pg, '{1,2,3}'::line as li`,
  "catalogue types": `select 'pg_class'::regclass, '16/B374D848'::pg_lsn as lsn, '(0,1)'::tid as tid, '5'::xid as xid, '5'::xid8 as x8,
    'pg_catalog'::regnamespace as ns, 'int4'::regtype as ty, '1 2'::int2vector as iv, '1 2'::oidvector as ov, '10:20:10,14'::pg_snapshot as sn,
    '$.a[*]'::jsonpath as jp, 'postgres=arwdDxt/postgres'::aclitem as acl`,
  "arrays of builtin types": `select '{1,null,3}'::int4[], '{{1,2},{3,4}}'::int8[] as two, '{}'::text[] as empty, array['a "b"', null, E'c\\nd'] as t,
    '{t,f}'::bool[] as b, array['2024-01-01 00:00:00.5+00'::timestamptz] as ts, array['{"a":1}'::jsonb] as j, '{NaN,1}'::numeric[] as n,
    '[2:3]={5,6}'::int[] as bounds, array['1 2'::int2vector] as iv`,
  "composites and records": `select row(1, 'x', '2024-01-01'::timestamptz)::types_pair, row(1, null, 'y') as r, array[row(1,2)] as rs,
    array[row(1, 'a', null)::types_pair] as ps, null::types_pair as nil, c as whole from (select 1 as k, '{"z": [1]}'::json as l) c`,
  "a whole table row": "select c from pg_catalog.pg_language c",
  "ranges and multiranges": `select '[1,5)'::int4range, 'empty'::numrange as e, '["2024-01-01","2024-02-01")'::tstzrange as t, '{[1,2),[3,4)}'::int4multirange as m,
    '["2024-01-01","2024-02-01")'::types_span as own`,
  "types of users and extensions": `select 'so "so"'::types_mood, 12.50::types_score as d, '{good}'::types_moods as ds, 'good'::types_mood_domain as md,
    '{good,"so \\"so\\""}'::types_mood[] as ms, 'a=>1,"b c"=>NULL'::hstore as h, 'Case'::citext as ci, row('hidden')::types_cast as ca, 'x'::types_loud as lo`,
  "statistics (anyarray)":
    "select most_common_vals from pg_stats where tablename = 'pg_proc' and most_common_vals is not null",
  "the void of functions": "select pg_catalog.set_config('x.y', 'z', true) as s, pg_sleep(0)",
  "odd and equal names": `select 1 as "a ""b""", 2 as "ключ 🔑", 3 as "two
lines", 4 as "ключ 🔑", array[5] as "ключ 🔑", 6 as "back\\slash", 7 as "__proto__", 8 as "?column?", 9`,
  "a table with values": "values (1, 'a', array[1]), (2, null, null)",
};

/** A query of every builtin type that has a text form, as array too; all of them NULL. */
export async function everyTypeQuery(): Promise<string> {
  const { url } = await sharedPostgres();
  const samples = await runSql(
    url,
    `select string_agg(format('null::%s as %I, array[null]::%s[] as %I', oid::regtype, typname, oid::regtype, '_' || typname), ', ')
     from pg_type where typtype in ('b', 'r', 'm') and typarray <> 0 and oid < 16384`,
  );
  return `select ${samples[0]?.[0]}`;
}
