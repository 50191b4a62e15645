/**
 * Recipients are looked at before a run, checksum and all: a key with a wrong letter would be met at the first page.
 * Done here, for stages hold no code of the workers', who know what a key is.
 */
import { PipelineError } from "../errors.ts";
import { isRecipient } from "../workers/age-keys.ts";
import type { Pipeline } from "./define.ts";
import { printPlace } from "./problems.ts";
import { measureReference } from "./references.ts";

/**
 * Refuses public keys that are none; references that are not resolved yet are left alone.
 * @param config of `encrypt`, valid by its schema, or as it was written where a reference is in it
 * @throws PipelineError `config-invalid`; the text is not printed, for it may be a secret in the wrong place
 */
export function refuseWrongRecipients(config: unknown, { spec, locate }: Pipeline): void {
  const { to = [] } = config as { readonly to?: string | readonly string[] };
  for (const [index, recipient] of [to].flat().entries()) {
    if (isRecipient(recipient) || measureReference(recipient) !== "none") continue;
    const stage = spec.stages.findIndex((entry) => "encrypt" in entry);
    const path = ["stages", stage, "encrypt", "to", index];
    const place = locate ? `${printPlace(locate(path))}: ` : "";
    throw new PipelineError(
      "config-invalid",
      `${place}encrypt: public key ${index + 1} of \`to\` is not right: its checksum or its length is wrong; copy it again whole`,
    );
  }
}
