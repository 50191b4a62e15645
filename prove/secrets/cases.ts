/** The commands of the proof of secrets: what people call, and all the ways in which it goes wrong. */
import { join } from "node:path";
import type { Call } from "../../test/servers/scripted-s3.ts";
import { copied, draftText, from, throwingModules, type Drafting } from "./drafts.ts";
import { misplaced } from "./misplaced.ts";
import { bucket, type Scene } from "./scene.ts";

export interface SecretCase {
  readonly name: string;
  readonly args: readonly string[];
  readonly exit: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Standard output is where the rows are meant to be. */
  readonly printsRows?: true;
  /** Sent when the spool holds a page. */
  readonly signal?: NodeJS.Signals;
  readonly before?: () => void;
  readonly after?: () => void;
  /** One of the few that stand for all where time is short. */
  readonly isFew?: true;
}

/** Writes every input file; gives the commands in the order in which they are called. */
export async function writeCases(scene: Scene): Promise<readonly SecretCase[]> {
  for (const [name, text] of Object.entries(throwingModules(scene))) await scene.put(name, text);
  const file = (name: string) => join(scene.folder, "in", name);
  const draft = (name: string, drafting: Drafting = {}) =>
    scene.put(`${name}.yaml`, draftText(scene, name, drafting));
  const s3 = { to: `s3://${bucket}/clinic`, timeout: "5s" };
  const telemetry = { prometheus: "127.0.0.1:29464" };
  await draft("whole", { upload: s3, more: { telemetry, sign: "${file:./signing-key.pem}" } });
  await draft("rows", { rows: [{ select: ["id", "note"] }], format: "csv" });
  await draft("copied", { source: copied(scene) });
  await draft("phrase", {
    encrypt: { passphrase: "${file:./passphrase}" },
    chunk: "1MiB",
    upload: `tar:${join(scene.folder, "out", "phrase.tar")}`,
  });
  await draft("slow", { rows: [{ map: "./slow.mjs" }], more: { telemetry } });
  for (const module of Object.keys(throwingModules(scene)))
    await draft(module.replace(".mjs", ""), { rows: [{ map: `./${module}` }] });
  await draft("refused", { upload: s3 });
  const sources: Readonly<Record<string, string>> = {
    raises: "select id, blow(id) from visits order by id",
    casts: "select id, note::int as number from bad order by id",
    checks: "select even(id) from visits order by id",
    writes: `insert into visits values (1, '${scene.of("literal")}') returning id`,
    misspelled: `select '${scene.of("literal")}' frmo visits /* ${scene.of("comment")} */`,
  };
  for (const [name, sql] of Object.entries(sources)) await draft(name, { source: from(sql) });
  await draft("casts-rows", { source: from(sources["casts"]!), rows: [{ map: "./slow.mjs" }] });
  return [
    ...runs(scene, file),
    ...failures(scene, file, Object.keys(sources)),
    ...(await misplaced(scene, draft)),
    ...readings(scene, file),
  ];
}

function runs(scene: Scene, file: (name: string) => string): SecretCase[] {
  const slow = ["run", file("slow.yaml"), "--debug"];
  const diag = {
    NODE_OPTIONS: "--report-on-signal --report-signal=SIGALRM --report-on-fatalerror",
  };
  const passphrase = join(scene.folder, "in", "passphrase");
  const tar = `tar:${join(scene.folder, "out", "phrase.tar")}`;
  return [
    { name: "plan", args: ["plan", file("rows.yaml")], exit: 0, isFew: true },
    { name: "plan --json", args: ["plan", file("rows.yaml"), "--json"], exit: 0 },
    { name: "check", args: ["check", file("whole.yaml")], exit: 0 },
    { name: "doctor", args: ["doctor", file("whole.yaml")], exit: 0 },
    { name: "doctor --json", args: ["doctor", file("phrase.yaml"), "--json"], exit: 0 },
    {
      name: "run --json to a store",
      args: ["run", file("whole.yaml"), "--json"],
      exit: 0,
      isFew: true,
    },
    { name: "run on rows", args: ["run", file("rows.yaml"), "--debug"], exit: 0 },
    { name: "run of COPY", args: ["run", file("copied.yaml")], exit: 0 },
    { name: "run with a passphrase", args: ["run", file("phrase.yaml")], exit: 0 },
    {
      name: "restore by passphrase file",
      args: [
        "restore",
        tar,
        "--to",
        join(scene.folder, "restored"),
        "--passphrase-file",
        passphrase,
      ],
      exit: 0,
    },
    {
      name: "cat by a wrong passphrase",
      args: ["cat", tar, "--debug"],
      env: { SPILLWAY_PASSPHRASE: scene.of("misplaced") },
      exit: 6,
    },
    { name: "kill -9", args: slow, signal: "SIGKILL", exit: -1, isFew: true },
    { name: "SIGTERM", args: slow, signal: "SIGTERM", exit: 75 },
    { name: "a report on a signal", args: slow, signal: "SIGALRM", env: diag, exit: 0 },
    { name: "a profile on a signal", args: slow, signal: "SIGUSR2", exit: 0 },
    { name: "a crash", args: slow, signal: "SIGSEGV", env: diag, exit: -1 },
    { name: "run again", args: slow, exit: 0 },
    {
      name: "the full SDK, talkative",
      args: ["run", file("node.yaml")],
      env: { OTEL_LOG_LEVEL: "ALL" },
      exit: 0,
    },
  ];
}

function failures(
  scene: Scene,
  file: (name: string) => string,
  sources: readonly string[],
): SecretCase[] {
  const { store } = scene;
  const wrong = new URL(scene.databaseUrl);
  wrong.password = scene.of("wrongPassword");
  const elsewhere = new URL(scene.databaseUrl);
  elsewhere.pathname = `/${scene.of("misplaced")}`;
  const modules = ["throws", "throws-text", "throws-later", "rejects", "throws-many"];
  const exits: Readonly<Record<string, number>> = { "throws-later": 1, rejects: 1 };
  const few = new Set(["raises", "throws", "throws-later"]);
  const echo = echoFault(scene);
  return [
    ...[...sources, "casts-rows"].map((name) => ({
      name: `the server fails: ${name}`,
      args: ["run", file(`${name}.yaml`), "--debug", "--json"],
      exit: 4,
      ...(few.has(name) && { isFew: true as const }),
    })),
    ...modules.map((name) => ({
      name: `a module fails: ${name}`,
      args: ["run", file(`${name}.yaml`), "--debug", "--json"],
      env: { NODE_OPTIONS: "--report-uncaught-exception" },
      exit: exits[name] ?? 4,
      ...(few.has(name) && { isFew: true as const }),
    })),
    {
      name: "a module fails: throws-at-once",
      args: ["run", file("throws-at-once.yaml"), "--debug"],
      exit: 2,
    },
    {
      name: "a wrong password",
      args: ["run", file("rows.yaml"), "--debug"],
      env: { DATABASE_URL: wrong.href },
      exit: 4,
    },
    {
      name: "a database that is not there",
      args: ["doctor", file("rows.yaml"), "--json"],
      env: { DATABASE_URL: elsewhere.href },
      exit: 4,
    },
    {
      name: "a store that refuses and repeats what it was sent",
      args: ["run", file("refused.yaml"), "--debug", "--json"],
      exit: 5,
      before: () => answerWith(store, "PUT", echo),
      after: () => answerWith(store),
      isFew: true,
    },
    {
      name: "doctor of such a store",
      args: ["doctor", file("refused.yaml")],
      exit: 5,
      before: () => answerWith(store, "GET", echo),
      after: () => answerWith(store),
    },
  ];
}

/** Answers every request of that method so; none when it is absent. */
function answerWith(store: Scene["store"], method?: string, play?: (call: Call) => void): void {
  store.script = play && ((call, early) => (early || call.method !== method ? undefined : play));
}

/** As S3 answers a wrong signature: with the credentials and the text that was signed. */
const echoFault =
  (scene: Scene) =>
  ({ response, request }: Pick<Call, "response" | "request">): void => {
    const sent = JSON.stringify(request.headers);
    const echoed = scene.of("echoed").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    response.writeHead(403, {
      "content-type": "application/xml",
      "x-amz-id-2": scene.of("misplaced"),
    });
    response.end(
      `<Error><Code>SignatureDoesNotMatch</Code><Message>${echoed}</Message><AWSAccessKeyId>AKIDEXAMPLE` +
        `</AWSAccessKeyId><StringToSign>${sent}</StringToSign><HostId>${echoed}</HostId></Error>`,
    );
  };

function readings(scene: Scene, file: (name: string) => string): SecretCase[] {
  const out = join(scene.folder, "out", "rows");
  const key = ["-i", file("key.txt")];
  const store = `s3://${bucket}/clinic/whole`;
  const { store: server } = scene;
  return [
    { name: "verify", args: ["verify", out, ...key, "--json"], exit: 0 },
    { name: "verify of a store", args: ["verify", store, ...key], exit: 0 },
    { name: "ls", args: ["ls", out, "--json"], exit: 0 },
    { name: "cat", args: ["cat", out, ...key], exit: 0, printsRows: true },
    {
      name: "cat --json",
      args: ["cat", store, ...key, "--json"],
      exit: 0,
      printsRows: true,
      isFew: true,
    },
    {
      name: "restore to a stream",
      args: ["restore", store, ...key, "--to", "-"],
      exit: 0,
      printsRows: true,
    },
    {
      name: "restore",
      args: ["restore", store, ...key, "--to", join(scene.folder, "restored"), "--json"],
      exit: 0,
      isFew: true,
    },
    {
      name: "cat by another's key",
      args: ["cat", store, "-i", file("other.txt"), "--debug"],
      exit: 6,
    },
    {
      name: "cat by a file that is no key",
      args: ["cat", store, "-i", file("misplaced"), "--debug"],
      exit: 2,
    },
    {
      name: "verify by a file that is no signer",
      args: ["verify", store, "--signer", file("misplaced"), "--debug"],
      exit: 2,
    },
    {
      name: "verify of a store that refuses",
      args: ["verify", store, ...key, "--json", "--debug"],
      exit: 5,
      before: () => answerWith(server, "GET", echoFault(scene)),
      after: () => answerWith(server),
    },
    ...makings(scene),
    {
      name: "verify of a damaged export",
      args: ["verify", store, ...key, "--json", "--debug"],
      exit: 6,
      before: () => damage(scene),
    },
    {
      name: "restore of a damaged export",
      args: ["restore", store, ...key, "--to", "-", "--debug"],
      exit: 6,
      printsRows: true,
    },
  ];
}

const makings = (scene: Scene): SecretCase[] => [
  {
    name: "keygen",
    args: ["keygen", "--signing", join(scene.folder, "state", "new"), "--json"],
    exit: 0,
  },
  {
    name: "init",
    args: ["init", join(scene.folder, "cwd", "made"), "--recipient", scene.recipient],
    exit: 0,
  },
];

function damage({ store }: Scene): void {
  const [name = ""] = [...store.objects.keys()].filter((key) =>
    key.endsWith("00000001.ndjson.zst.age"),
  );
  const bytes = Buffer.from(store.objects.get(name)!.bytes);
  bytes[bytes.length >> 1]! ^= 1;
  store.objects.set(name, { bytes, meta: {} });
}
