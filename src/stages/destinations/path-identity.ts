/** One spelling for a path of this machine: a folder is one destination, however its URL is written. */
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The URL of a folder or file with nothing in it that a path does not need: `//`, a last `/`, escapes. */
export function pathIdentity({ protocol, pathname }: URL): string {
  const path = resolve(fileURLToPath(`file://${pathname}`));
  return new URL(`${protocol}//${pathToFileURL(path).pathname}`).href;
}
