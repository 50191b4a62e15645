/** How far a run had come when it was killed, as what it left behind tells. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { journalLines } from "../../src/stages/pages/spool-journal-lines.ts";
import { realWorld } from "../../src/stages/world.ts";

/** In the order of a run's life. */
export const stretches = [
  "before it began",
  "before a page was durable",
  "before an acknowledgement was",
  "between acknowledgements",
  "while committing",
  "after the commit",
  "after its end",
] as const;

export type Stretch = (typeof stretches)[number];

/** What a pipeline's folders hold between two attempts. */
export interface Traces {
  /** The attempt that `run.json` is of; undefined where there is none. */
  readonly attempt: string | undefined;
  readonly hasPages: boolean;
  readonly acknowledged: "none" | "some" | "all";
  /** Whether the manifest of the run under way lies at the destination. */
  readonly isStored: boolean;
  /** Manifests at the destination. */
  readonly committed: number;
}

interface RunJson {
  readonly runId: string;
  readonly attempts: number;
  readonly key: string;
}

/** @param manifests ids of the runs whose manifest lies at the destination */
export async function readTraces(spool: string, manifests: ReadonlySet<string>): Promise<Traces> {
  const committed = manifests.size;
  const text = await readFile(join(spool, "run.json"), "utf8").catch(() => undefined);
  if (text === undefined) {
    const none = {
      attempt: undefined,
      hasPages: false,
      acknowledged: "none",
      isStored: false,
    } as const;
    return { ...none, committed };
  }
  const { runId, attempts, key } = JSON.parse(text) as RunJson;
  const pages = await readdir(join(spool, "pages")).catch(() => []);
  return {
    attempt: `${runId} ${attempts}`,
    hasPages: pages.length > 0,
    acknowledged: await readAcknowledged(spool, Buffer.from(key, "hex")),
    isStored: manifests.has(runId),
    committed,
  };
}

/** The line that the kill tore says nothing. */
async function readAcknowledged(spool: string, key: Uint8Array): Promise<"none" | "some" | "all"> {
  const journal = { disk: realWorld.disk, path: join(spool, "acks.ndjson"), key };
  let acknowledged: "none" | "some" | "all" = "none";
  for await (const { checkpoints = [] } of journalLines(journal))
    for (const { final } of checkpoints) acknowledged = final ? "all" : "some";
  return acknowledged;
}

/** Where an attempt was killed, by the traces before and after it. */
export function stretchOf(before: Traces, after: Traces): Stretch {
  if (after.attempt === before.attempt && after.committed === before.committed)
    return "before it began";
  if (after.attempt === undefined) return "after its end";
  if (after.isStored) return "after the commit";
  if (after.acknowledged === "all") return "while committing";
  if (after.acknowledged === "some") return "between acknowledgements";
  return after.hasPages ? "before an acknowledgement was" : "before a page was durable";
}
