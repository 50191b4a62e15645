/**
 * The stage for the proof of secrets: a database, a store and a collector that know canaries, a home whose every folder
 * is looked at, and input files that hold what a user would hold there.
 */
import { generateKeyPairSync } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { startPostgres } from "../../src/cli/demo-postgres.ts";
import { createKey } from "../../test/fixtures/keys.ts";
import { startOtlpReceiver, type OtlpReceiver } from "../../test/servers/otlp-receiver.ts";
import { startScriptedS3, type ScriptedS3 } from "../../test/servers/scripted-s3.ts";
import { plainCanary, textCanary, wildCanary, type Canary } from "./canaries.ts";

const wildNames = ["row", "default", "message", "detail", "hint", "thrown", "echoed"] as const;
// prettier-ignore
const plainNames = [
  "user", "password", "wrongPassword", "urlQuery", "param", "literal", "comment", "badInput",
  "s3Secret", "s3Token", "otlpHeader", "bystander", "passphrase", "misplaced",
] as const;

export type CanaryName = (typeof wildNames | typeof plainNames)[number];

export interface Scene {
  readonly folder: string;
  readonly canaries: readonly Canary[];
  /** The text of a canary. */
  of(name: CanaryName): string;
  readonly env: Readonly<Record<string, string>>;
  readonly store: ScriptedS3;
  readonly collector: OtlpReceiver;
  readonly recipient: string;
  readonly databaseUrl: string;
  /** Writes an input file, 0600; gives its path. */
  put(name: string, text: string): Promise<string>;
  close(): Promise<void>;
}

export const bucket = "exports";

export async function openScene(random: () => number, rows: number): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-secrets-"));
  const server = await startPostgres({ auth: "scram" });
  const store = await startScriptedS3(bucket);
  const collector = await startOtlpReceiver();
  const [key, other] = [await createKey(), await createKey()];
  const signing = makeSigningKey();
  const canaries = [
    ...wildNames.map((name) => wildCanary(name, random)),
    ...plainNames.map((name) => plainCanary(name, random)),
    // The beginning is the same for all keys.
    textCanary("identity", key.identity.slice(17)),
    textCanary("otherIdentity", other.identity.slice(17)),
    { name: "signingKey", text: "", bytes: signing.seed },
  ];
  const of = (name: CanaryName) => canaries.find((canary) => canary.name === name)!.text;
  await fillDatabase(server.url, of, rows);
  const url = new URL(server.url);
  Object.assign(url, { username: of("user"), password: of("password") });
  url.search = `?sslmode=disable&application_name=${of("urlQuery")}`;
  for (const name of ["in", "tmp", "cwd", "state"])
    await mkdir(join(folder, name), { recursive: true });
  const scene: Scene = {
    folder,
    canaries,
    of,
    store,
    collector,
    recipient: key.recipient,
    databaseUrl: url.href,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: join(folder, "cwd"),
      TMPDIR: join(folder, "tmp"),
      XDG_STATE_HOME: join(folder, "state"),
      DATABASE_URL: url.href,
      AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
      AWS_SECRET_ACCESS_KEY: of("s3Secret"),
      AWS_SESSION_TOKEN: of("s3Token"),
      AWS_ENDPOINT_URL: store.endpoint,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${of("otlpHeader")}`,
      BYSTANDER: of("bystander"),
    },
    async put(name, text) {
      const path = join(folder, "in", name);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    },
    async close() {
      await Promise.all([server.stop(), store.stop(), collector.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
  await scene.put("signing-key.pem", signing.pem);
  await scene.put("key.txt", `${key.identity}\n`);
  await scene.put("other.txt", `${other.identity}\n`);
  await scene.put("passphrase", `${of("passphrase")}\n`);
  await scene.put("misplaced", of("misplaced"));
  return scene;
}

function makeSigningKey(): { pem: string; seed: Buffer } {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  return { pem, seed: der.subarray(-32) };
}

const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** Table `visits`, whose notes all hold one canary, and functions that fail as servers do: quoting what they failed on. */
async function fillDatabase(
  url: string,
  of: (name: CanaryName) => string,
  rows: number,
): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const raise =
      `raise exception using message = ${quote(of("message"))}, detail = ${quote(of("detail"))}, ` +
      `hint = ${quote(of("hint"))}, errcode = '23505', constraint = ${quote(of("detail"))}`;
    for (const statement of [
      `create role "${of("user")}" superuser login password ${quote(of("password"))}`,
      `create table visits (id int primary key, note text, extra text default ${quote(of("default"))})`,
      `insert into visits select i, i || ' ' || ${quote(of("row"))}, md5(i::text) || repeat('x', i % 90)
         from generate_series(1, ${rows}) i`,
      `create table bad (id int, note text)`,
      `insert into bad select i, case when i < 400 then '7' else ${quote(of("badInput"))} end
         from generate_series(1, 500) i`,
      `create function blow(i int) returns int language plpgsql as
         $$ begin if i > 400 then ${raise}; end if; return i; end $$`,
      `create domain even as int check (value % 2 = 0)`,
    ])
      await client.query(statement);
  } finally {
    await client.end();
  }
}
