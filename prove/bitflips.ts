/**
 * Proves that no damage passes: to what lies at the destination, to one page alone, to what lies in the spool.
 *
 *   npm run prove:bitflips -- --count 300 --seed 7
 *   npm run prove:bitflips -- --all
 *
 * A golden run is damaged, one thing at a time: each bit flipped, each length cut to, bytes added, objects swapped, doubled,
 * deleted, taken from another run with everything unsigned made to fit, manifests edited and spelled again, wrong keys. `verify`,
 * `restore` and `readExport` must each refuse, by a code of ours, and let go of nothing that is not authentic. Then
 * pages without the manifest before them, the public vectors of age, and pages that inflate to gigabytes.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { proveBombs } from "./bitflips/bombs.ts";
import { sampleOf, sumOf, type Tally } from "./bitflips/damage.ts";
import { makeGolden, proveExports } from "./bitflips/exports.ts";
import { provePages } from "./bitflips/pages.ts";
import { proveSpool } from "./bitflips/spool.ts";
import { proveSwaps } from "./bitflips/swaps.ts";
import { proveVectors } from "./bitflips/vectors.ts";

export interface BitflipTrials {
  /** Damages tried of each file; all where absent. */
  readonly count?: number;
  readonly seed: number;
  readonly onPart?: (line: string) => void;
}

export interface BitflipReport extends Tally {
  readonly seed: number;
}

export async function proveBitflips({
  count,
  seed,
  onPart,
}: BitflipTrials): Promise<BitflipReport> {
  const root = await mkdtemp(join(tmpdir(), "spillway-bitflips-"));
  const sample = sampleOf(seed, count);
  try {
    const golden = await makeGolden(join(root, "golden"), "golden");
    const other = await makeGolden(join(root, "other"), "other");
    const parts: Readonly<Record<string, () => Promise<Tally>>> = {
      "objects at the destination": () => proveExports(golden, sample),
      "objects in other places": () => proveSwaps(golden, other),
      "pages alone": () => provePages(sample),
      "files of the spool": () => proveSpool(join(root, "spool"), sample),
      "vectors of age": proveVectors,
      "pages that inflate": proveBombs,
    };
    const tallies: Tally[] = [];
    for (const [name, prove] of Object.entries(parts)) {
      const tally = await prove();
      tallies.push(tally);
      onPart?.(`${name}: ${tally.trials} trials, ${tally.failures.length} failures`);
    }
    return { ...sumOf(tallies), seed };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const values = readOptions({ count: 150, all: false });
  const { trials, failures, seed } = await proveBitflips({
    ...(!values.all && { count: values.count }),
    seed: values.seed,
    onPart: tellProgress,
  });
  tellFailures(failures);
  process.stdout.write(`${trials} trials, ${failures.length} failures, seed ${seed}\n`);
}
