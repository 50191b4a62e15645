/** Says whether what a trial left is right: every export whole, every row once, and no leftovers in the spool. */
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { restoreExport } from "../src/readback/restore.ts";
import { verifyExport, type VerifyLevel } from "../src/readback/verify.ts";

export interface Judged {
  /** The folder (or any other destination's copy of it) that holds the runs of one pipeline. */
  readonly exports: string;
  /** The pipeline's folder in the spool, when no run is under way. */
  readonly spool: string;
  readonly identity: string;
  /** SHA-256 (hex) of what every export must restore to. */
  readonly expected: string;
  /** How deep `verify` goes (full where absent); restoring opens and checks every page anyway. */
  readonly level?: VerifyLevel;
}

/** @returns what is wrong, or the number of committed exports */
export async function judge({
  exports,
  spool,
  identity,
  expected,
  level = "full",
}: Judged): Promise<string | number> {
  const runs = await readdir(exports);
  for (const run of runs) {
    const url = join(exports, run);
    const report = await verifyExport(url, { level, identity });
    if (!report.ok) {
      return `verify found ${report.problems.length} problems in ${run}: ${JSON.stringify(report.problems[0])}`;
    }
    if ((await restoredDigest(url, identity)) !== expected)
      return `${run} restores to other rows than the table holds`;
  }
  const kept = (name: string) => name === "lock.db" || /^last-[0-9a-f]{16}\.json$/.test(name);
  const left = (await readdir(spool)).filter((name) => !kept(name));
  return left.length > 0 ? `the spool still holds ${left.join(", ")}` : runs.length;
}

/** SHA-256 (hex) of the rows an export restores to. */
export async function restoredDigest(url: string, identity: string): Promise<string> {
  const hash = createHash("sha256");
  const sink = new Writable({
    write(bytes: Buffer, _encoding, done) {
      hash.update(bytes);
      done();
    },
  });
  await restoreExport(url, { to: sink, identity });
  return hash.digest("hex");
}
