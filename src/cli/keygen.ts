/** `spillway keygen`: key pairs. Age for those who read exports, Ed25519 for the exporter who signs manifests. */
import { join } from "node:path";
import { loadSigningKey } from "../pipeline/signing-key.ts";
import { PipelineError } from "../errors.ts";
import { makeAgeKey, writeNewFile } from "./key-file.ts";
import type { Report, Verb } from "./verb.ts";

export const keygen: Verb = {
  name: "keygen",
  summary: "Make a key pair that opens exports, or one that signs them",
  options: [
    { flags: "--out <file>", description: "new file for the age identity; printed when absent" },
    {
      flags: "--signing <folder>",
      description: "make signing-key.pem and signer.pem there instead, for `sign: ${file:…}`",
    },
  ],
  examples: ["spillway keygen --out key.txt", "spillway keygen --signing ./keys"],
  notes: [
    "The public key (age1…) goes into `encrypt: { to: … }`; whoever has the identity file reads the export.",
  ],
  async run(call) {
    const folder = call.text("signing");
    const out = call.text("out");
    if (folder !== undefined && out !== undefined)
      throw new PipelineError("config-invalid", "keygen: expected either --out or --signing");
    return folder === undefined ? makeIdentity(out) : makeSigningKey(folder);
  },
};

async function makeIdentity(out: string | undefined): Promise<Report> {
  const { recipient, text } = await makeAgeKey();
  if (out === undefined)
    return { document: { recipient, identity: text }, text: () => text.trimEnd(), isData: true };
  await writeNewFile(out, text, 0o600);
  return {
    document: { recipient, file: out },
    text: ({ bold }) =>
      `Public key: ${bold(recipient)}\nIdentity:   ${out} (keep it secret; nothing else opens what is sealed to it)`,
  };
}

async function makeSigningKey(folder: string): Promise<Report> {
  const key = await loadSigningKey(undefined, folder);
  const file = join(folder, "signing-key.pem");
  if (!key.made)
    throw new PipelineError(
      "config-invalid",
      `${file}: exists and is never overwritten; expected another folder`,
    );
  return {
    document: { signer: key.publicText, file, publicFile: join(folder, "signer.pem") },
    text: ({ bold }) => `Signer: ${bold(key.publicText)}\nIn the pipeline: sign: \${file:${file}}`,
  };
}
