/** `spillway init`: a commented pipeline to begin with, its schema for the editor, and a key pair. Asks nothing. */
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { PipelineError } from "../errors.ts";
import { checkRecipients } from "../workers/age.ts";
import { makeAgeKey, makeFolderOfFiles, writeNewFile } from "./key-file.ts";
import { pipelineSchema } from "./schema.ts";
import { alignColumns } from "./screen.ts";
import { shellWord } from "./stock-commands.ts";
import type { Verb } from "./verb.ts";

const pipelineName = "export.yaml";
const schemaName = "spillway.schema.json";
const keyName = "key.txt";

export const init: Verb = {
  name: "init",
  summary: "Write a commented pipeline file, its schema and a key pair to begin with",
  argument: ["[folder]", "where to write; the present folder when absent"],
  options: [
    {
      flags: "--recipient <key>",
      description:
        "public key (age1…) of a reader, instead of a new pair; may be given several times",
      repeats: true,
    },
  ],
  examples: ["spillway init", "spillway init ./observations --recipient age1…"],
  notes: ["Nothing is overwritten: when one of the files is there, none is written."],
  async run(call) {
    const folder = call.argument || ".";
    const recipients = call.texts("recipient");
    if (recipients.length > 0) checkRecipients({ to: recipients });
    const key = recipients.length > 0 ? undefined : await makeAgeKey();
    const to = key ? [key.recipient] : recipients;
    refuseTaken(folder, key ? [pipelineName, schemaName, keyName] : [pipelineName, schemaName]);
    await makeFolderOfFiles(folder);
    if (key) await writeNewFile(join(folder, keyName), key.text, 0o600);
    await writeNewFile(join(folder, schemaName), `${(await pipelineSchema()).text()}\n`);
    await writeNewFile(join(folder, pipelineName), starterPipeline(to));
    const file = join(folder, pipelineName);
    const identity = key ? join(folder, keyName) : undefined;
    return {
      document: {
        file,
        schema: join(folder, schemaName),
        recipients: to,
        identity: identity ?? null,
      },
      text: ({ bold, dim, green }) => {
        const written = [
          [file, "the pipeline: put your query in"],
          [join(folder, schemaName), "completion and checks in editors"],
          ...(identity
            ? [[identity, "opens the export: keep it secret, away from the exporter"]]
            : []),
        ].map(([name = "", what = ""]) => [bold(name), dim(what)]);
        const shown = shellWord(relative(".", file) || file);
        const next = ["plan", "check", "run"].map((verb) => `  spillway ${verb} ${shown}`);
        return [`${green("✔")} written`, ...alignColumns(written), "", "next", ...next].join("\n");
      },
    };
  },
};

function refuseTaken(folder: string, names: readonly string[]): void {
  const taken = names.map((name) => join(folder, name)).find((path) => existsSync(path));
  if (taken === undefined) return;
  throw new PipelineError(
    "config-invalid",
    `init: ${taken} exists and is never overwritten; expected a folder without it`,
  );
}

const starterPipeline = (recipients: readonly string[]): string => `\
# yaml-language-server: $schema=./${schemaName}

# The name is part of every path: <destination>/<name>/<run>/…
name: observations

# One number for the whole process: heap, buffers, workers, telemetry.
memory: 96MiB

stages:
  # Secrets stand in the environment or in a file of yours: \${env:NAME} or \${file:path}.
  - postgres:
      url: \${env:DATABASE_URL}
      query: select * from observation where code = $1 order by id
      params: ["29463-7"]

  # Rows can be changed on the way; a module's path is relative to this file.
  # - select: [id, effective, value]
  # - filter: { column: final, equals: true }
  # - map: ./anonymize.ts

  - serialize: ndjson # ndjson | csv | json
  - chunk: 1MiB # pages hold whole records
  - compress: zstd # zstd | gzip | none

  # Public keys of those who may read; the exporter cannot read what it wrote.
  - encrypt:
      to:
${recipients.map((recipient) => `        - ${recipient}`).join("\n")}

  # Pages wait here, sealed, while the destination is slow or away.
  - spool: { dir: ./spool, maxBytes: 10GiB }

  - upload: { to: ./exports } # a folder | s3://bucket/prefix | tar:./export.tar

# Signs the manifest. Without it a key is made on first use and kept in your state folder.
# sign: \${file:./keys/signing-key.pem}

# Traces and metrics; OTEL_* variables do the same.
# telemetry: { otlp: "http://127.0.0.1:4318" }
`;
