/** `spillway schema`: the JSON Schema of pipeline files, for editors and other checkers. */
import { pipelineJsonSchema } from "../pipeline/json-schema.ts";
import { registry } from "../stages/registry.ts";
import type { Verb } from "./verb.ts";

/** The schema as the file that editors read. */
export const schemaText = (): string => JSON.stringify(pipelineJsonSchema(registry), null, 2);

export const schema: Verb = {
  name: "schema",
  summary: "Print the JSON Schema of pipeline files",
  examples: ["spillway schema > spillway.schema.json"],
  async run() {
    return { document: pipelineJsonSchema(registry), text: schemaText, isData: true };
  },
};
