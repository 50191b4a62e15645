/** Files that hold keys: made once, 0600, never over what is there. */
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { syncFolderWhereAllowed } from "../stages/durable-file.ts";
import { generateAgeIdentity, identityToRecipient } from "../workers/age.ts";
import { PipelineError, systemCode } from "../errors.ts";

export interface AgeKey {
  /** The public key (`age1…`). */
  readonly recipient: string;
  /** The text of an identity file, as `age-keygen` writes it. */
  readonly text: string;
}

/** Makes an age key pair. */
export async function makeAgeKey(): Promise<AgeKey> {
  const identity = await generateAgeIdentity();
  const recipient = await identityToRecipient(identity);
  const created = new Date().toISOString().replace(/\.\d+/, "");
  return { recipient, text: `# created: ${created}\n# public key: ${recipient}\n${identity}\n` };
}

/**
 * Writes a new file, which outlives a power cut from then on, as does its name: what is sealed to a key may be all there is.
 * @throws PipelineError `config-invalid` when the name is taken or cannot be written
 */
export async function writeNewFile(path: string, text: string, mode = 0o644): Promise<void> {
  try {
    await using file = await open(path, "wx", mode);
    await file.writeFile(text);
    await file.sync();
    await syncFolderWhereAllowed(dirname(path));
  } catch (error) {
    const reason = systemCode(error) ?? "unknown error";
    const message =
      reason === "EEXIST"
        ? "exists and is never overwritten; expected another name"
        : `cannot be written (${reason})`;
    throw new PipelineError("config-invalid", `${path}: ${message}`);
  }
}
