/** `spillway ls`: the exports below a URL, finished or not. */
import type { ListedExport } from "../readback/list-exports.ts";
import { formatBytes } from "../stages/atoms.ts";
import { PipelineError } from "../errors.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { readingOptions, s3Note, s3Options } from "./reading-options.ts";
import { alignColumns, formatCount, harmless } from "./screen.ts";
import type { Paint, Verb } from "./verb.ts";

export const ls: Verb = {
  name: "ls",
  summary: "List the exports at a destination",
  argument: ["<url>", "destination, folder of a pipeline or folder of a run"],
  options: s3Options,
  examples: ["spillway ls ./exports", "spillway ls s3://bucket/prefix --json"],
  notes: ["No key is needed. Signatures are checked by `spillway verify`, not here.", s3Note],
  async run(call) {
    const interrupt = listenForInterrupt(interrupted, () => {});
    try {
      const { listExports } = await import("../readback/list-exports.ts");
      const options = await readingOptions(call, interrupt.signal);
      const exports = await Array.fromAsync(listExports(call.argument, options));
      if (exports.length === 0)
        throw new PipelineError(
          "not-found",
          "no export lies there; expected the URL of a destination, of a pipeline's folder or of a run's folder",
        );
      return { document: { exports }, text: (paint) => listText(exports, paint), isData: true };
    } finally {
      interrupt.dispose();
    }
  },
};

function listText(exports: readonly ListedExport[], paint: Paint): string {
  const head = ["Pipeline", "Run", "State", "Pages", "Records", "Stored", "Finished"];
  const rows = exports.map((found) => [
    harmless(found.pipeline ?? "-"),
    harmless(found.run ?? "-"),
    stateText(found.state, paint),
    formatCount(found.pages),
    found.records === null ? "-" : formatCount(found.records),
    formatBytes(found.bytes),
    found.finished ?? "-",
  ]);
  return alignColumns([head.map(paint.dim), ...rows], { indent: 0, right: [3, 4, 5] }).join("\n");
}

function stateText(state: ListedExport["state"], { green, yellow, red }: Paint): string {
  return { complete: green, incomplete: yellow, damaged: red }[state](state);
}
