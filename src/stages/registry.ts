/** Every stage there is, by name: the one list a new stage is added to. */
import { chunk } from "./pages/chunk.ts";
import { compress } from "./pages/compress.ts";
import { encrypt } from "./pages/encrypt.ts";
import { spool } from "./pages/spool.ts";
import { upload } from "./pages/upload.ts";
import { serialize } from "./formats/serialize.ts";
import { csv } from "./sources/csv.ts";
import { duckdb } from "./sources/duckdb.ts";
import { fhirBulk } from "./sources/fhir-bulk.ts";
import { fhir } from "./sources/fhir.ts";
import { json } from "./sources/json.ts";
import { mysql } from "./sources/mysql.ts";
import { ndjson } from "./sources/ndjson.ts";
import { postgres } from "./sources/postgres.ts";
import { postgresCopy } from "./sources/postgres-copy.ts";
import { sqlite } from "./sources/sqlite.ts";
import { tar } from "./sources/tar.ts";
import type { AnyStage } from "./stage.ts";
import { filter } from "./transforms/filter.ts";
import { lookup } from "./transforms/lookup.ts";
import { map } from "./transforms/map.ts";
import { select } from "./transforms/select.ts";

const stages: readonly AnyStage[] = [
  postgres,
  postgresCopy,
  mysql,
  sqlite,
  duckdb,
  fhir,
  fhirBulk,
  json,
  ndjson,
  csv,
  tar,
  select,
  filter,
  map,
  lookup,
  serialize,
  chunk,
  compress,
  encrypt,
  spool,
  upload,
];

export const registry: ReadonlyMap<string, AnyStage> = new Map(
  stages.map((stage) => [stage.name, stage]),
);
