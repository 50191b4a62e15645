/** Every way in for bytes from outside, by the name of its class of cases. */
import { manifests, yaml } from "./config.ts";
import type { FuzzClass } from "./fuzz-class.ts";
import { frames, identities, sealed } from "./pages.ts";
import { csvFiles, jsonFiles, ndjsonFiles, restoredRecords } from "./rows.ts";
import { bundles, tarFiles } from "./tar.ts";
import { answersOfS3, headers } from "./stores.ts";
import { checkpoints, runFolders, spoolFolders } from "./spool.ts";
import { copied, framed, parsed, wire } from "./wire.ts";

export const fuzzClasses: Readonly<Record<string, () => Promise<FuzzClass> | FuzzClass>> = {
  yaml,
  manifest: manifests,
  page: sealed,
  frame: frames,
  identity: identities,
  tar: tarFiles,
  bundle: bundles,
  json: jsonFiles,
  ndjson: ndjsonFiles,
  csv: csvFiles,
  record: restoredRecords,
  wire,
  copy: copied,
  framing: framed,
  parser: parsed,
  checkpoint: checkpoints,
  spool: spoolFolders,
  run: runFolders,
  s3: answersOfS3,
  header: headers,
};
