/** Types of users and extensions that a corpus needs. */
export const corpusTypes: readonly string[] = [
  "create extension if not exists hstore",
  "create extension if not exists citext",
  "create type types_mood as enum ('good', 'so \"so\"')",
  'create type types_pair as (a int, "b ""q""" text, c timestamptz)',
  "create domain types_score as numeric check (value >= 0)",
  "create domain types_moods as types_mood[]",
  "create domain types_mood_domain as types_mood",
  "create type types_span as range (subtype = timestamptz)",
  "create type types_cast as (secret text)",
  'create function types_cast_json(types_cast) returns json language sql as $$ select \'{"is": "cast"}\'::json $$',
  "create cast (types_cast as json) with function types_cast_json(types_cast)",
  "create type types_loud as enum ('x')",
  "create function types_loud_json(types_loud) returns json language sql as $$ select '[\"loud\"]'::json $$",
  "create cast (types_loud as json) with function types_loud_json(types_loud)",
];
