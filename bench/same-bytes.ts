/** That two exports hold the same bytes, told by stock tools alone: `psql`, `age`, `zstd` and `sha256sum`. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { bin } from "./job.ts";
import type { RunSummary } from "../src/pipeline/summary.ts";

export interface Compared {
  /** SHA-256 of all records. */
  readonly digest: string;
  readonly bytes: number;
}

export interface Comparison {
  readonly folder: string;
  readonly yaml: string;
  /** The key that opens the pages. */
  readonly identity: string;
  /** What prints the same on standard output. */
  readonly peer: string;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Exports once and compares every byte with what the peer prints.
 * @throws Error when they differ
 */
export async function compareBytes(comparison: Comparison): Promise<Compared> {
  const { folder, yaml, identity, peer, env } = comparison;
  const key = join(folder, "key.txt");
  await writeFile(key, `${identity}\n`, { mode: 0o600 });
  // Not synchronously: the receiver of telemetry may live in this process.
  const sh = async (script: string) => {
    const args = ["-c", `set -o pipefail; ${script}`];
    const { stdout } = await promisify(execFile)("bash", args, {
      env: { ...process.env, ...env },
      maxBuffer: 2 ** 26,
    });
    return stdout;
  };
  const summary = JSON.parse(
    await sh(`${process.execPath} ${bin} run ${yaml} --json --quiet`),
  ) as RunSummary;
  const pages = join(new URL(summary.destination).pathname, "[0-9]*.age");
  const digest = async (script: string) => (await sh(`${script} | sha256sum`)).slice(0, 64);
  const ours = await digest(
    `for page in ${pages}; do age -d -i ${key} $page | zstd -dcq || exit 1; done`,
  );
  const theirs = await digest(peer);
  if (ours !== theirs) throw new Error(`the export differs from \`${peer}\`: ${ours}, ${theirs}`);
  return { digest: ours, bytes: summary.bytesIn };
}

/** Undoes what COPY's text format does to JSON: a backslash is two, and nothing else in it is escaped. */
export const undoCopy = String.raw`sed 's/\\\\/\\/g'`;
