/** How `bin/spillway.js` starts an export: the flags of V8, and the environment. */
export const leanFlags: readonly string[] = [
  "--max-semi-space-size=1",
  "--expose-gc",
  "--optimize-for-size",
  "--no-incremental-marking",
  "--no-short-builtin-calls",
  "--no-opt",
  "--no-maglev",
  "--no-sparkplug",
];

export const leanEnv: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: String(32 * 2 ** 20),
  MALLOC_TRIM_THRESHOLD_: String(64 * 2 ** 20),
};
