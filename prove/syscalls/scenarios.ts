/** What is swept: kinds of runs, what may happen to each of their operations, and where a run begins. */
import { createHash } from "node:crypto";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createKey } from "../../test/fixtures/keys.ts";
import type { ScriptedS3 } from "../../test/servers/scripted-s3.ts";
import { openHome, type Home, type HomeInit } from "./home.ts";
import { faults, kills, writeFaults, writeKills, type Act } from "./orders.ts";

export interface Scenario {
  readonly name: string;
  readonly to: "file" | "tar" | "s3";
  readonly rows: number;
  readonly chunk: string;
  /** Where a first attempt was killed; what is swept is the attempt after it. */
  readonly crashed?: { readonly at: string; readonly act: Act };
}

const small = { to: "file", rows: 160, chunk: "4KiB" } as const;

export const scenarios: readonly Scenario[] = [
  { name: "first run", ...small },
  { name: "several flushes", to: "file", rows: 20_000, chunk: "256KiB" },
  { name: "tar", to: "tar", rows: 160, chunk: "4KiB" },
  { name: "s3", to: "s3", rows: 160, chunk: "4KiB" },
  {
    name: "half a flush is named",
    ...small,
    crashed: { at: "spool/job/pages/00000001.ndjson.zst.age rename#1", act: "kill-after" },
  },
  {
    name: "a torn journal",
    ...small,
    crashed: { at: "spool/job/acks.ndjson write#1", act: "kill-half" },
  },
  {
    name: "acknowledged and not removed",
    ...small,
    crashed: { at: "spool/job/acks.ndjson datasync#1", act: "kill-after" },
  },
  {
    name: "half a manifest",
    ...small,
    crashed: { at: "spool/job/incoming/manifest.json.draft write#3", act: "kill-half" },
  },
  {
    name: "stored but for its manifest",
    ...small,
    crashed: { at: "out/job/RUN/manifest.json.sig link#1", act: "kill-after" },
  },
  {
    name: "committed and not tidied up",
    ...small,
    crashed: { at: "spool/job/last.json rename#1", act: "kill-after" },
  },
];

/** A scenario with its folders, and what it must restore to. */
export interface Staged {
  readonly home: Home;
  readonly expected: string;
  readonly template?: string;
  readonly s3?: ScriptedS3;
}

/** Runs that take up what a crash left are killed everywhere, and meet the two kinds of failures. */
export function actsOf({ crashed }: Scenario, at: string, killsOnly: boolean): readonly Act[] {
  if (at.startsWith("PUT")) return kills;
  const isWrite = at.includes(" write#");
  const killed = isWrite ? [...kills, ...writeKills] : kills;
  if (killsOnly) return killed;
  if (crashed) return [...killed, "EIO", "full"];
  return [...killed, ...faults, ...(isWrite ? writeFaults : [])];
}

export async function prepare(
  folder: string,
  scenario: Scenario,
  s3: ScriptedS3,
  seed: number,
): Promise<Staged> {
  await mkdir(folder);
  const source = join(folder, "source.ndjson");
  const text = rowsOf(scenario.rows, seed);
  await writeFile(source, text);
  const expected = createHash("sha256").update(text).digest("hex");
  const options = { endpoint: s3.endpoint, accessKeyId: "key", secretAccessKey: "secret" };
  const { to, chunk } = scenario;
  const init: HomeInit = {
    folder,
    key: await createKey(),
    source,
    chunk,
    to: to === "s3" ? options : to,
  };
  const home = await openHome(init);
  if (to === "s3") return { home, expected, s3 };
  if (!scenario.crashed) return { home, expected };
  const template = join(folder, "template");
  const { log } = await home.run(scenario.crashed);
  if (!log.includes("reached"))
    throw new Error(`${scenario.name}: the first attempt did not get to its point`);
  for (const name of ["spool", "state", "out"]) {
    await cp(join(folder, name), join(template, name), { recursive: true, force: true }).catch(
      () => {},
    );
  }
  return { home, expected, template };
}

/** Each row a function of seed and place, and hard to compress. */
function rowsOf(count: number, seed: number): string {
  const rows = Array.from({ length: count }, (_, id) => {
    const text = createHash("sha256").update(`${seed} ${id}`).digest("base64");
    return `${JSON.stringify({ id, text })}\n`;
  });
  return rows.join("");
}

/** What two undisturbed runs have in common. */
export async function goldenPoints({ name }: Scenario, staged: Staged): Promise<readonly string[]> {
  const { home, expected, template, s3 } = staged;
  let common: string[] | undefined;
  for (let time = 0; time < 2; time += 1) {
    await home.reset(template);
    s3?.objects.clear();
    s3?.requests.splice(0);
    const { exit, error, log } = await home.run({});
    if (exit !== "0") throw new Error(`${name}: an undisturbed run ended with ${exit}: ${error}`);
    await home.judge(expected);
    const seen = new Set(s3 ? putsOf(s3) : log);
    common = common?.filter((point) => seen.has(point)) ?? [...seen];
  }
  return common!;
}

const putsOf = ({ requests }: ScriptedS3) =>
  requests.filter((line) => line.startsWith("PUT")).map((line) => `PUT ${line.split("/").at(-1)}`);
