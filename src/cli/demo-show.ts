/**
 * `spillway demo`: the whole of it on this machine. A real PostgreSQL, an encrypted export, its proof, a page opened.
 * Whatever happens, the database goes; the folder with the result stays.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadSigningKey } from "../pipeline/signing-key.ts";
import type { RunSummary } from "../pipeline/summary.ts";
import { parseJsonRecord } from "../readback/parse-record.ts";
import { readPages } from "../readback/read-pages.ts";
import { verifyExport, type VerifyReport } from "../readback/verify.ts";
import { formatDuration } from "../stages/atoms.ts";
import type { Row } from "../stages/nouns.ts";
import { openSession } from "../stages/sources/postgres-session.ts";
import { demoPipeline, runDemoExport } from "./demo-export.ts";
import { startPostgres } from "./demo-postgres.ts";
import { demoQuery, demoStatements } from "./demo-rows.ts";
import { exportFacts, rowTable, tellStory, type Story } from "./demo-story.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { makeAgeKey, makeFolderOfFiles, writeNewFile } from "./key-file.ts";
import { startProgress, type ProgressLine } from "./progress.ts";
import { formatCount, paintFor } from "./screen.ts";
import { shellWord, stockCommands } from "./stock-commands.ts";
import type { Call, Paint, Report } from "./verb.ts";

const usualRows = 1_000_000;
const shownRows = 5;

export async function showDemo(call: Call): Promise<Report> {
  const progress = startProgress(call);
  const interrupt = listenForInterrupt(interrupted, () => progress.info("cleaning up"));
  const stage: Stage = {
    call,
    progress,
    signal: interrupt.signal,
    ...storyOf(call),
  };
  try {
    return { document: await showAll(stage), text: () => "" };
  } finally {
    progress.end();
    interrupt.dispose();
  }
}

interface Stage {
  readonly call: Call;
  readonly progress: ProgressLine;
  readonly signal: AbortSignal;
  readonly story: Story;
  readonly paint: Paint;
}

interface DemoReport {
  readonly folder: string;
  readonly summary: RunSummary;
  readonly verified: VerifyReport;
  readonly firstRows: readonly Row[];
}

/** Told on standard output, unless that is for the document. */
function storyOf({ json, quiet }: Call): Pick<Stage, "story" | "paint"> {
  const stream = json ? process.stderr : process.stdout;
  const paint = paintFor(stream);
  return { paint, story: tellStory((text) => quiet || stream.write(text), paint) };
}

async function showAll(stage: Stage): Promise<DemoReport> {
  const { call, story, paint, signal } = stage;
  const folder = await makeFolder(call.text("keep"));
  const { identity, recipient } = await makeKeys(folder);
  const summary = await exportFromDatabase(stage, folder, recipient);
  story.facts(exportFacts(summary, paint));
  const url = summary.destination;

  story.section("The proof");
  const options = { identity, signer: summary.signer, signal };
  const verified = await verifyExport(url, { ...options, level: "full" });
  signal.throwIfAborted();
  if (verified.ok) {
    story.facts([
      [
        "verified",
        `${paint.green("✔")} every page opened, in its place, ${formatCount(verified.records)} records counted`,
      ],
      ["signed by", verified.signer ?? ""],
    ]);
  }

  story.section("One page, opened with the key made just now");
  const firstRows = await readFirstRows(url, options);
  story.lines(rowTable(firstRows, paint, 3));
  tellWhere(stage, folder, summary);
  return { folder, summary, verified, firstRows };
}

async function makeFolder(keep: string | undefined): Promise<string> {
  if (keep === undefined) return mkdtemp(join(tmpdir(), "spillway-demo-"));
  await makeFolderOfFiles(keep, 0o700);
  return resolve(keep);
}

async function makeKeys(folder: string): Promise<{ identity: string; recipient: string }> {
  const { text, recipient } = await makeAgeKey();
  await writeNewFile(join(folder, "key.txt"), text, 0o600);
  await loadSigningKey(undefined, folder);
  return { identity: text, recipient };
}

/** The database lives only here. */
async function exportFromDatabase(stage: Stage, folder: string, recipient: string) {
  const { call, story, paint, signal } = stage;
  story.section("A database");
  const server = await timed(stage, "PostgreSQL", "starting PostgreSQL", startPostgres);
  try {
    const rows = call.count("rows") ?? usualRows;
    await timed(stage, `${formatCount(rows)} clinical rows`, "making rows", () =>
      fill(server.url, rows, signal),
    );
    story.section("A pipeline");
    const pipeline = demoPipeline(recipient, demoQuery);
    await writeFile(join(folder, "export.yaml"), pipeline);
    story.lines(pipeline.trimEnd().split("\n").map(paint.dim));
    story.section("The export, as a process of its own");
    const { quiet } = call;
    return await runDemoExport({ folder, databaseUrl: server.url, quiet, signal });
  } finally {
    await server.stop();
    await rm(join(folder, "spool"), { recursive: true, force: true });
  }
}

async function timed<Result>(
  { story, progress, signal }: Stage,
  what: string,
  doing: string,
  work: () => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted();
  const started = performance.now();
  progress.show(({ dim }) => [dim(`   ${doing} …`)]);
  try {
    return await work();
  } finally {
    progress.end();
    story.facts([[formatDuration(performance.now() - started), what]]);
  }
}

const fillMillis = 120_000;

async function fill(url: string, rows: number, signal: AbortSignal): Promise<void> {
  const session = await openSession(
    { url, connectMillis: 10_000, answerMillis: fillMillis },
    signal,
  );
  try {
    for (const statement of demoStatements(rows)) await session.ask(statement);
  } finally {
    await session.close();
  }
}

async function readFirstRows(
  url: string,
  options: { identity: string; signer: string; signal: AbortSignal },
): Promise<Row[]> {
  for await (const { content } of readPages(url, options)) {
    const lines = Buffer.from(content).toString().split("\n").slice(0, shownRows);
    return lines.filter(Boolean).map(parseJsonRecord);
  }
  return [];
}

function tellWhere({ story, paint }: Stage, folder: string, summary: RunSummary): void {
  const identity = join(folder, "key.txt");
  const stock = stockCommands(summary, identity);
  story.section("Yours to look at");
  story.facts([
    ["result", folder],
    ["report", join(folder, "report.json")],
    ["manifest", summary.manifest.replace("file://", "")],
  ]);
  story.lines(["", paint.dim("with stock tools (age, zstd, coreutils), nothing of ours:")]);
  story.lines([stock.enter, stock.check, stock.restore]);
  story.lines(["", paint.dim("The database is gone again. The result stays until you remove it:")]);
  story.lines([`rm -r ${shellWord(folder)}`]);
}
