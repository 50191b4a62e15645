/** The commands of the proof of secrets: what people call, and all the ways in which it goes wrong. */
import { join } from "node:path";
import { copied, draftText, from, throwingModules, type Drafting } from "./drafts.ts";
import { failures } from "./failing-cases.ts";
import { misplaced } from "./misplaced.ts";
import { readings } from "./reading-cases.ts";
import { bucket, type Scene } from "./scene.ts";
import type { SecretCase } from "./secret-case.ts";

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
