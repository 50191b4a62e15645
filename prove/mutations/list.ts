/** Every planted bug, by where it is planted. */
import { durableMutations } from "./durable.ts";
import { endMutations } from "./ends.ts";
import type { Mutation } from "./mutation.ts";
import { sealingMutations } from "./sealing.ts";
import { spoolMutations } from "./spool.ts";
import { trustMutations } from "./trust.ts";

export const mutations: Readonly<Record<string, readonly Mutation[]>> = {
  "Files that survive a power cut": durableMutations,
  "Pages that are durable, acknowledged, found again": spoolMutations,
  "Pages, and what is sealed": sealingMutations,
  "Sources and destinations": endMutations,
  "Commit, trust and exit": trustMutations,
};
