/** Pipeline files and modules for the proof of secrets, as users write them. */
import { join } from "node:path";
import type { Scene } from "./scene.ts";

/** An export as a file would say it; JSON is YAML. */
export type Draft = Readonly<Record<string, unknown>>;

export interface Drafting {
  readonly source?: Draft;
  readonly rows?: readonly Draft[];
  readonly format?: string;
  readonly chunk?: unknown;
  readonly compress?: unknown;
  readonly encrypt?: unknown;
  readonly upload?: unknown;
  readonly more?: Draft;
}

const query = (scene: Scene) =>
  `select id, note, extra from visits where note <> '${scene.of("literal")}' and note <> $1 ` +
  `/* ${scene.of("comment")} */ order by id`;

export function draftText(scene: Scene, name: string, drafting: Drafting): string {
  const database = { url: "${env:DATABASE_URL}", query: query(scene), params: [scene.of("param")] };
  const source = drafting.source ?? { postgres: database };
  const isCopy = "postgres-copy" in source;
  return JSON.stringify({
    name,
    memory: "256MiB",
    stages: [
      source,
      ...(drafting.rows ?? []),
      ...(isCopy ? [] : [{ serialize: drafting.format ?? "ndjson" }]),
      { chunk: drafting.chunk ?? "16KiB" },
      { compress: drafting.compress ?? "zstd" },
      { encrypt: drafting.encrypt ?? { to: scene.recipient } },
      { spool: join(scene.folder, "spool") },
      { upload: drafting.upload ?? join(scene.folder, "out") },
    ],
    ...drafting.more,
  });
}

export const from = (sql: string): Draft => ({
  postgres: { url: "${env:DATABASE_URL}", query: sql },
});

export const copied = (scene: Scene): Draft => ({
  "postgres-copy": {
    url: "${env:DATABASE_URL}",
    query: `select * from visits where note <> '${scene.of("literal")}' order by id`,
    format: "csv",
  },
});

/** Modules of a user's that fail with rows in their hands. */
export function throwingModules(scene: Scene): Readonly<Record<string, string>> {
  const thrown = JSON.stringify(scene.of("thrown"));
  const error =
    `Object.assign(new RangeError(${thrown} + "\\n    at " + ${thrown} + " (a:1:1)"), ` +
    `{ code: ${thrown}, name: ${thrown}, errno: ${thrown}, cause: new Error(${thrown}) })`;
  const late = (work: string) =>
    `let rows = 0; export default (row) => { if (++rows === 400) ${work}; return row; };`;
  return {
    "throws.mjs": late(`throw ${error}`),
    "throws-text.mjs": late(`throw ${thrown}`),
    "throws-later.mjs": late(`setTimeout(() => { throw ${error} })`),
    "rejects.mjs": late(`Promise.reject(${error})`),
    "throws-many.mjs": late(`throw new AggregateError([${error}], ${thrown}, { cause: ${error} })`),
    "throws-at-once.mjs": `throw ${error};`,
    "slow.mjs": `export default async (row) => { await new Promise((done) => setTimeout(done, row.id > 600 && row.id < 660 ? 40 : 0)); return row; };`,
  };
}
