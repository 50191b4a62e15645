/** `spillway count`: how many rows a source has, before anything is exported. */
import type { SourceCount } from "../pipeline/count-source.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { formatCount } from "./screen.ts";
import type { Verb } from "./verb.ts";

export const count: Verb = {
  name: "count",
  summary: "Say how many rows a pipeline's source has, without reading them",
  argument: ["<file|url>", "pipeline in YAML, or the address of a FHIR search"],
  examples: [
    "spillway count export.yaml",
    'spillway count "https://server/fhir/Observation?code=29463-7" --json',
  ],
  notes: [
    "FHIR servers are asked with _summary=count; databases count in one snapshot, PostgreSQL for 20 seconds at most, then",
    "its planner's estimate is told. Row functions behind the source are not counted. An address is asked without a login.",
  ],
  async run(call) {
    const interrupt = listenForInterrupt(interrupted, () => {});
    const { signal } = interrupt;
    try {
      const { countSource, countUrl } = await import("../pipeline/count-source.ts");
      const { loadPipeline } = await import("../pipeline/load.ts");
      const counted = /^https?:\/\//.test(call.argument)
        ? await countUrl(call.argument, signal)
        : await countSource(await loadPipeline(call.argument), { env: call.env, signal });
      return { document: counted, text: () => countText(counted), isData: true };
    } finally {
      interrupt.dispose();
    }
  },
};

const countText = ({ rows, exact }: SourceCount): string =>
  exact ? formatCount(rows) : `about ${formatCount(rows)}, as the planner estimates`;
