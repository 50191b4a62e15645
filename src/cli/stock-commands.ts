/** Shell commands with which a recipient checks and restores an export without spillway. */
import { fileURLToPath } from "node:url";
import type { RunSummary } from "../pipeline/summary.ts";
import { urlOfObject } from "../stages/destinations/object-names.ts";

export interface StockCommands {
  /** Brings the run's folder here and enters it. */
  readonly enter: string;
  /** Compares every page with its digest. */
  readonly check: string;
  /** Writes the records to one file. */
  readonly restore: string;
}

/** What of a run's summary says where it lies, and how its pages are made. */
export type Exported = Pick<
  RunSummary,
  "destination" | "pipeline" | "runId" | "layers" | "opensWith"
>;

export function stockCommands(exported: Exported, identityFile = "key.txt"): StockCommands {
  const { extension, compress, encrypt } = exported.layers;
  const packed = { zstd: ".zst", gzip: ".gz", none: "" }[compress];
  const unpack = { zstd: "zstd -dc", gzip: "gzip -dc", none: "cat" }[compress];
  const pages = `*.${extension}${packed}${encrypt === "age" ? ".age" : ""}`;
  // A passphrase is asked for at each page.
  const key = exported.opensWith === "key" ? ` -i ${shellWord(identityFile)}` : "";
  const decrypt = `age -d${key} "$p"`;
  const open =
    encrypt === "none"
      ? `${unpack} "$p"`
      : compress === "none"
        ? decrypt
        : `${decrypt} | ${unpack}`;
  return {
    enter: enterCommand(exported),
    check: "sha256sum -c --quiet SHA256SUMS",
    restore: `for p in ${pages}; do ${open}; done > rows.${extension}`,
  };
}

function enterCommand({ destination: runUrl, pipeline, runId }: Exported): string {
  if (runUrl.startsWith("file:")) return `cd ${shellWord(fileURLToPath(runUrl))}`;
  if (runUrl.startsWith("tar:")) {
    const bundle = fileURLToPath(runUrl.replace(/^tar:/, "file:"));
    return `tar -xf ${shellWord(bundle)} && cd ${shellWord(`${pipeline}/${runId}`)}`;
  }
  if (runUrl.startsWith("sftp:")) return scpCommand(new URL(runUrl), runId);
  if (runUrl.startsWith("azblob:")) return azCommand(new URL(runUrl));
  if (/^https?:/.test(runUrl)) return curlCommand(runUrl);
  // No URL to the tool: its keys stand as they are.
  return `aws s3 cp --recursive ${shellWord(decodeURIComponent(runUrl))} .`;
}

function scpCommand({ username, hostname, port, pathname }: URL, runId: string): string {
  const path = decodeURIComponent(pathname).replace(/^\/~\//, "");
  const from = `${decodeURIComponent(username)}@${hostname}:${path}`;
  return `scp -r ${port === "" ? "" : `-P ${port} `}${shellWord(from)} . && cd ${shellWord(runId)}`;
}

function azCommand({ hostname, pathname }: URL): string {
  const [container = "", ...prefix] = decodeURIComponent(pathname.slice(1)).split("/");
  const place = shellWord(prefix.join("/"));
  const pattern = shellWord(`${prefix.join("/")}/*`);
  const from = `--account-name ${hostname} -s ${shellWord(container)} --pattern ${pattern}`;
  return `az storage blob download-batch ${from} -d . && cd ${place}`;
}

/** Web servers need not list: the sums name the pages. */
function curlCommand(runUrl: string): string {
  const [sums, page] = ["SHA256SUMS", "{}"].map((name) => shellWord(urlOfObject(runUrl, name)));
  return `curl -fo SHA256SUMS ${sums} && cut -c 67- SHA256SUMS | xargs -I{} curl -fo {} ${page}`;
}

/** A word as a POSIX shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
