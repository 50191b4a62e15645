/** Every planted bug, by where it is planted. */
import { apartMutations } from "./apart.ts";
import { durableMutations } from "./durable.ts";
import { endMutations } from "./ends.ts";
import { lookupMutations } from "./lookups.ts";
import type { Mutation } from "./mutation.ts";
import { sealingMutations } from "./sealing.ts";
import { spoolMutations } from "./spool.ts";
import { trustMutations } from "./trust.ts";

export const mutations: Readonly<Record<string, readonly Mutation[]>> = {
  "Files that survive a power cut": durableMutations,
  "Pages that are durable, acknowledged, found again": spoolMutations,
  "Pages, and what is sealed": sealingMutations,
  "Sources and destinations": endMutations,
  "Lookups that the server joins": lookupMutations,
  "Commit, trust and exit": trustMutations,
  "Exports that are taken apart": apartMutations,
};
