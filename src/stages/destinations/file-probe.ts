/** What `doctor` asks of destinations that are files: may names be given there, durably and only once. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PipelineError } from "../../errors.ts";
import { fault } from "../finding.ts";
import { probeFolder } from "../folder-probe.ts";
import type { ProbeDestination } from "./destination.ts";
import { statOf } from "./file-work.ts";

const needs = { code: "destination-refused", full: "destination-failed", links: true } as const;

export const probeFile: ProbeDestination = (url, { folder }) =>
  probeFolder(join(fileURLToPath(url), folder), needs);

export const probeTar: ProbeDestination = async function* (url) {
  const path = fileURLToPath(`file://${url.pathname}`);
  yield* probeFolder(dirname(path), needs);
  if ((await statOf(path)) === undefined) return;
  yield fault(
    "bundle",
    new PipelineError(
      "foreign-object",
      `${path} exists and is finished; a new run never overwrites it, name another file or move it away`,
    ),
  );
};
