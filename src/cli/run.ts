/** `spillway run`: what its help says; the work is in `run-file.ts`. */
import type { Verb } from "./verb.ts";

export const run: Verb = {
  name: "run",
  summary: "Export what a pipeline file says; after a stop, the same command goes on",
  argument: ["<file>", "pipeline in YAML"],
  options: [
    { flags: "--restart", description: "discard an unfinished run and begin a new one" },
    {
      flags: "--slot <time>",
      description: "the time of a schedule this run is for (ISO); it is exported for once",
    },
    {
      flags: "--profile <dir>",
      description: "write CPU profiles of all threads there, and show where each stage's time went",
    },
  ],
  examples: ["spillway run export.yaml", "spillway run export.yaml --json > summary.json"],
  notes: [
    "Ctrl-C or SIGTERM stops cleanly (exit 75) and keeps what is done; a second one ends it at once (130).",
    "Exit codes: 0 committed, 2 configuration, 4 source, 5 destination, 6 integrity,",
    "7 another run is under way, 75 stopped and resumable, 1 a defect of spillway.",
    "SIGUSR2 to a running export writes CPU profiles of ten seconds and shows where the time goes.",
  ],
  async run(call) {
    return (await import("./run-file.ts")).runFile(call);
  },
};
