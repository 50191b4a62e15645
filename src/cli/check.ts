/** `spillway check`: everything a run would refuse before it touches source or destination, references included. */
import { PipelineError } from "../errors.ts";
import { failureDocument } from "./failure.ts";
import type { Report, Verb } from "./verb.ts";

interface ConfigProblem {
  readonly message: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

const configCode = 2;

export const check: Verb = {
  name: "check",
  summary: "Say whether a pipeline file is right, and which variables and files it misses",
  argument: ["<file>", "pipeline in YAML"],
  examples: ["spillway check export.yaml", "spillway check export.yaml --json"],
  async run(call) {
    const { loadPipeline } = await import("../pipeline/load.ts");
    const { planPipeline } = await import("../pipeline/plan.ts");
    try {
      const pipeline = await loadPipeline(call.argument);
      await planPipeline(pipeline, { resolve: "full", env: call.env });
      return {
        document: { ok: true },
        text: ({ green }) => `${green("ok")} ${call.argument} can be run`,
      };
    } catch (error) {
      if (error instanceof PipelineError && error.exitCode === configCode) return refuse(error);
      throw error;
    }
  },
};

function refuse(failure: PipelineError): Report {
  const problems = failure.message.split("\n").map(readProblem);
  return {
    document: { ok: false, problems, ...failureDocument(failure) },
    text: () => "",
    failure,
  };
}

/** `file:line:column: what is wrong`, or only what is wrong. */
function readProblem(told: string): ConfigProblem {
  const [, file, line, column, message] = /^(.+?):(\d+):(\d+): (.*)$/.exec(told) ?? [];
  if (file === undefined || message === undefined) return { message: told };
  return { file, line: Number(line), column: Number(column), message };
}
