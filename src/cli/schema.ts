/** `spillway schema`: the JSON Schema of pipeline files, for editors and other checkers. */
import type { Verb } from "./verb.ts";

/** The schema, and its text as the file that editors read. */
export async function pipelineSchema() {
  const { pipelineJsonSchema } = await import("../pipeline/json-schema.ts");
  const { registry } = await import("../stages/registry.ts");
  const document = pipelineJsonSchema(registry);
  return { document, text: () => JSON.stringify(document, null, 2) };
}

export const schema: Verb = {
  name: "schema",
  summary: "Print the JSON Schema of pipeline files",
  examples: ["spillway schema > spillway.schema.json"],
  async run() {
    return { ...(await pipelineSchema()), isData: true };
  },
};
