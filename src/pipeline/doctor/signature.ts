/** Whether the manifest can be signed: a key that is given or was made is read; one to come needs a place. Makes nothing. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { PipelineError, systemCode } from "../../errors.ts";
import { statOf } from "../../stages/destinations/file-work.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { nearestFolder } from "../../stages/folder-probe.ts";
import { loadSigningKey, signingKeyName, stateFolder } from "../signing-key.ts";

export async function* examineSignature(
  pem: string | undefined,
  folder: string = stateFolder(),
): AsyncGenerator<Finding> {
  const path = join(folder, signingKeyName);
  try {
    if (pem === undefined && !(await statOf(path))) {
      await access(await nearestFolder(folder), constants.W_OK);
      yield doubt(
        "key",
        `none yet; the first run makes ${path}`,
        "a container that is thrown away takes it along; give one with `sign`, or make it now with `spillway keygen --signing`",
      );
      return;
    }
    const { publicText } = await loadSigningKey(pem, folder);
    yield good("key", `${publicText} (${pem === undefined ? path : "given by `sign`"})`);
  } catch (error) {
    if (error instanceof PipelineError) yield fault("key", error);
    else yield fault("key", unusable(folder, error));
  }
}

function unusable(folder: string, cause: unknown): PipelineError {
  return new PipelineError(
    "config-invalid",
    `${folder} cannot be used (${systemCode(cause) ?? "unknown error"}); expected a place for the signing key, or one given by \`sign\``,
    { cause },
  );
}
