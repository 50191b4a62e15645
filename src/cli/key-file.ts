/** Files that hold keys: made once, 0600, never over what is there. */
import { dirname } from "node:path";
import { realDisk } from "../stages/world.ts";
import {
  isOfOthers,
  makeFolder,
  syncFolderWhereAllowed,
  writeSynced,
} from "../stages/durable-file.ts";
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
 * Makes the folder of such files where it is missing; its name outlives a power cut as theirs do.
 * @throws PipelineError `config-invalid` when it cannot be made
 */
export async function makeFolderOfFiles(path: string, mode = 0o777): Promise<void> {
  const make = () => makeFolder(path, realDisk, mode);
  try {
    // In a folder of others it is made although that cannot be synced, and is found the second time.
    await make().catch((error: unknown) => (isOfOthers(error) ? make() : Promise.reject(error)));
  } catch (error) {
    throw refusal(path, `cannot be made (${reasonOf(error)}); expected a folder of your own`);
  }
}

/**
 * Writes a new file, which outlives a power cut from then on, as does its name: what is sealed to a key may be all there is.
 * @throws PipelineError `config-invalid` when the name is taken or cannot be written
 */
export async function writeNewFile(path: string, text: string, mode = 0o644): Promise<void> {
  try {
    await writeSynced(path, [Buffer.from(text)], realDisk, mode);
    await syncFolderWhereAllowed(dirname(path));
  } catch (error) {
    const reason = reasonOf(error);
    throw refusal(
      path,
      reason === "EEXIST"
        ? "exists and is never overwritten; expected another name"
        : `cannot be written (${reason})`,
    );
  }
}

const reasonOf = (error: unknown) => systemCode(error) ?? "unknown error";

const refusal = (path: string, message: string) =>
  new PipelineError("config-invalid", `${path}: ${message}`);
