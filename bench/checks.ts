/**
 * What do the checks cost the whole job: syncing what is durable, opening each page again after sealing it, hashing it again
 * before it is uploaded?
 *
 *   node bench/checks.ts [--rows n] [--runs 7] [--page 1MiB] [--url postgres://…]
 *
 * The same export with all of it, with each taken away, and with none, in turns. No option takes a check away: each way but
 * the first is a copy of the sources with a line changed, built as ours is. "all, again" is the same program twice: the
 * noise of the table.
 */
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createKey } from "../test/fixtures/keys.ts";
import { contest, medianOf, printTable, ratioOf, type Contender, type Rounds } from "./contest.ts";
import { bin, buildWhenChanged, ndjsonOf, writeJob } from "./job.ts";
import type { Measured } from "./measure.ts";
import { openServer } from "./server.ts";
import { createTable, tableOf } from "./tables.ts";

/** A place in the sources, and what it becomes for a check to be gone. */
interface Change {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** Every file and folder is synced through a handle of Node's. */
const noSync: Change = {
  file: "src/cli/command.ts",
  find: "async function main(",
  put: `const handle = await process.getBuiltinModule("fs/promises").open("/dev/null");
    Object.assign(Object.getPrototypeOf(handle), { sync: async () => {}, datasync: async () => {} });
    await handle.close();
    async function main(`,
};
const noSelfCheck: Change = {
  file: "src/workers/seal.ts",
  find: "  let cause: unknown;\n",
  put: "  if (page >= 0) return;\n  let cause: unknown;\n",
};
const noHash: Change = {
  file: "src/stages/pages/spool-pages.ts",
  find: '  if (!hash("sha256", bytes, "buffer").equals(page.sealedDigest)) torn(page.name);\n',
  put: "",
};

const changes = {
  all: [],
  again: [],
  sync: [noSync],
  opened: [noSelfCheck],
  hash: [noHash],
  none: [noSync, noSelfCheck, noHash],
} satisfies Readonly<Record<string, readonly Change[]>>;
type Way = keyof typeof changes;
const ways = Object.keys(changes) as Way[];

const names: Readonly<Record<Way, string>> = {
  all: "all of it",
  again: "all of it, again",
  sync: "without syncing",
  opened: "without opening sealed pages again",
  hash: "without hashing again before the upload",
  none: "without any of the three",
};

const root = join(import.meta.dirname, "..");

/** Builds a copy of the sources with the changes made; gives its command. */
async function buildChanged(folder: string, list: readonly Change[]): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const name of ["bin", "src", "scripts", "package.json"])
    await cp(join(root, name), join(folder, name), { recursive: true });
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  for (const { file, find, put } of list) {
    const text = await readFile(join(folder, file), "utf8");
    const places = text.split(find).length - 1;
    if (places !== 1) throw new Error(`${file} has ${places} places like ${find}; expected one`);
    await writeFile(
      join(folder, file),
      text.replace(find, () => put),
    );
  }
  execFileSync(process.execPath, [join(folder, "scripts", "build.ts")], { stdio: "inherit" });
  return join(folder, "bin", "spillway.js");
}

interface Place {
  readonly folder: string;
  readonly url: string;
  readonly to: string;
  readonly page: string;
}

async function contenderOf(way: Way, { folder, url, to, page }: Place): Promise<Contender> {
  const records = ndjsonOf(url, "select * from results");
  const { script, out } = await writeJob(folder, { name: way, records, to, page });
  const command =
    changes[way].length === 0 ? bin : await buildChanged(join(folder, "built", way), changes[way]);
  return { name: names[way], script: script.replace(bin, command), leaves: out };
}

const wall = ({ seconds }: Measured) => seconds;
const cpu = ({ clientSeconds }: Measured) => clientSeconds;
/** All that works while the export runs: where cores are scarce, that is its time. */
const allCpu = ({ clientSeconds, serverSeconds }: Measured) => clientSeconds + serverSeconds;
/** What of a figure is spent on what `way` goes without. */
const share = (rounds: Rounds<Way>, way: Way, figure: (measured: Measured) => number): string =>
  `${(100 * (1 - ratioOf(rounds[way], rounds.all, figure))).toFixed(1)} %`;

function print(rounds: Rounds<Way>): void {
  printTable([
    ["", "wall s", "saves", "client CPU s", "saves"],
    ...ways.map((way) => [
      names[way],
      medianOf(rounds[way], wall).toFixed(2),
      share(rounds, way, wall),
      medianOf(rounds[way], cpu).toFixed(2),
      share(rounds, way, cpu),
    ]),
  ]);
  printTable([
    ["goal", "wanted", "time", "CPU of client and server"],
    [
      "share of all three in the whole export",
      "≤ 10 %",
      share(rounds, "none", wall),
      share(rounds, "none", allCpu),
    ],
  ]);
}

const { values } = parseArgs({
  options: {
    rows: { type: "string" },
    runs: { type: "string", default: "7" },
    page: { type: "string", default: "1MiB" },
    url: { type: "string" },
  },
});
const runs = Number(values.runs);
buildWhenChanged();
const folder = await mkdtemp(join(tmpdir(), "spillway-checks-"));
const server = await openServer(values.url);
try {
  const table = tableOf("results", values.rows);
  if (!values.url) await createTable(server.url, table);
  const { recipient } = await createKey();
  const place = { folder, url: server.url, to: recipient, page: values.page };
  const contenders: Partial<Record<Way, Contender>> = {};
  for (const way of ways) contenders[way] = await contenderOf(way, place);
  const options = { server, env: { XDG_STATE_HOME: join(folder, "state") } };
  const rounds = await contest(contenders as Record<Way, Contender>, runs, options);
  process.stdout.write(
    `Medians of ${runs} runs in turns; "saves" is the median of each round's share of all of it; Node ${process.version}.\n\n`,
  );
  print(rounds);
} finally {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}
