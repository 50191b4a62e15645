/** Whether the spool can hold what is durable, and whether a run could take it: rights, room, lock, a run under way. */
import { lstat, statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { PipelineError, systemCode } from "../../errors.ts";
import { formatBytes } from "../../stages/atoms.ts";
import { openDestination } from "../../stages/destinations/schemes.ts";
import { doubt, fault, good, type Finding } from "../../stages/finding.ts";
import { nearestFolder, probeFolder } from "../../stages/folder-probe.ts";
import { takeLock } from "../../stages/pages/spool-lock.ts";
import { destinationOptions } from "../../stages/pages/upload.ts";
import { realDisk } from "../../stages/world.ts";
import { bindingOf } from "../resume.ts";
import { fateOf, readRecord, type Fate } from "../run-folder-unfinished.ts";
import type { Plan } from "../plan-types.ts";
import type { Examined } from "./examined.ts";

/** Fewer pages than this do not keep an upload going. */
const fewestPages = 8;

export async function* examineSpool({ plan }: Examined): AsyncGenerator<Finding> {
  const path = resolve(plan.spool.dir, plan.report.name);
  try {
    const found = await statOf(path);
    yield* probeFolder(path, { code: "spool-failed", full: "disk-full", links: false });
    yield* describeRights(path, found);
    yield await describeRoom(path, plan);
    if (found) yield await describeRun(path, plan);
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    throw new PipelineError(
      "spool-failed",
      `${path} cannot be looked at (${systemCode(error) ?? "unknown error"}); expected a folder of this user's own`,
      { cause: error },
    );
  }
}

async function statOf(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) return undefined;
    throw error;
  }
}

async function* describeRights(
  path: string,
  found: Awaited<ReturnType<typeof lstat>> | undefined,
): AsyncGenerator<Finding> {
  if (found && (!found.isDirectory() || (Number(found.mode) & 0o077) !== 0)) {
    yield fault(
      "rights",
      new PipelineError(
        "config-invalid",
        `${path} is open to others or no folder; run \`chmod 700\` on it or choose another \`spool.dir\``,
      ),
    );
    return;
  }
  const above = await lstat(await nearestFolder(resolve(path, "..")));
  const isSticky = (above.mode & 0o1000) !== 0;
  if ((above.mode & 0o022) !== 0 && !isSticky)
    yield doubt(
      "rights",
      "the folder around the spool can be written to by others",
      "they could put another in its place; run `chmod go-w` on it",
    );
  else yield good("rights", found ? "only its owner can open it" : "will be made with mode 0700");
}

async function describeRoom(path: string, { spool, report }: Plan): Promise<Finding> {
  const { bavail, bsize } = await statfs(await nearestFolder(path));
  const freeBytes = bavail * bsize;
  const free = `${formatBytes(freeBytes)} are free`;
  if (freeBytes < fewestPages * report.pageBytes)
    return fault(
      "room",
      new PipelineError(
        "disk-full",
        `${free}, not even ${fewestPages} pages; make room or choose another \`spool.dir\``,
      ),
    );
  if (freeBytes >= spool.maxBytes)
    return good("room", `${free}, of which it takes ${formatBytes(spool.maxBytes)} at most`);
  return doubt(
    "room",
    `${free}, less than \`maxBytes\` (${formatBytes(spool.maxBytes)})`,
    "when uploads are slow the disk fills up first: the source waits, then the run stops, resumable; make room or lower `maxBytes`",
  );
}

/** A lock that is free is taken and given back at once. */
async function describeRun(path: string, plan: Plan): Promise<Finding> {
  try {
    const lock = join(path, "lock.db");
    if (await statOf(lock)) takeLock(lock, plan.report.name).release();
    return await describeUnfinished(path, plan);
  } catch (error) {
    if (error instanceof PipelineError) return fault("run", error);
    throw error;
  }
}

async function describeUnfinished(path: string, plan: Plan): Promise<Finding> {
  const found = await readRecord({ disk: realDisk, path }, false);
  if (!found) return good("run", "none is under way");
  const { runId } = found;
  const destination = await openDestination(plan.upload.to, destinationOptions(plan.upload));
  await destination.close();
  const init = { ...bindingOf(plan, destination), restart: false };
  const fate = await fateOf({ disk: realDisk, path }, found, init);
  return good("run", `${runId} ${fates[fate]}`);
}

const fates: Readonly<Record<Fate, string>> = {
  "goes on": "is unfinished; `run` goes on with it",
  "is finished": "is complete but for its last step; `run` finishes it as it was",
  "begins anew": "had begun and holds nothing; `run` begins anew",
};
