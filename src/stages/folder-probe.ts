/**
 * Whether a folder can keep what is promised about files: written, synced, named once. A folder that is not there yet is
 * judged by the nearest one above it. Whatever is tried leaves nothing behind.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { open, opendir, rename, rm, stat, statfs, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PipelineError, systemCode, type ErrorCode } from "../errors.ts";
import { isFull, linkOnce, statOf } from "./destinations/file-work.ts";
import { incomingPrefix } from "./destinations/object-names.ts";
import { syncFolder, writeSynced } from "./durable-file.ts";
import { doubt, fault, good, type Finding } from "./finding.ts";

/** A folder with more files than this is not searched to its end for what an earlier look left. */
const mostEntries = 10_000;

export interface FolderNeeds {
  /** What a run ends with when the folder cannot be used. */
  readonly code: ErrorCode;
  /** What a run ends with when there is no room in it. */
  readonly full: ErrorCode;
  /** Whether names are given by hard links. */
  readonly links: boolean;
}

/** Looks at the folder at `path`, without making it. */
export async function* probeFolder(path: string, needs: FolderNeeds): AsyncGenerator<Finding> {
  try {
    const folder = await nearestFolder(path);
    yield describeFileSystem((await statfs(folder)).type);
    await removeLeftovers(folder);
    await tryFiles(folder, needs.links);
    const links = needs.links ? ", hard links" : "";
    const place = folder === path ? path : `${path} (to be made in ${folder})`;
    yield good("files", `${place}: writing, fsync, rename${links} and O_NOFOLLOW work`);
  } catch (error) {
    if (error instanceof PipelineError) yield fault("files", error);
    else yield fault("files", cannotUse(path, needs, error));
  }
}

/** The folder itself, or the first above it that exists. */
export async function nearestFolder(path: string): Promise<string> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) return path;
  } catch (error) {
    // A link that leads nowhere has the name, and no folder can be made there.
    if (systemCode(error) !== "ENOENT" || (await statOf(path))) throw error;
    return nearestFolder(dirname(path));
  }
  throw Object.assign(new Error("not a folder"), { code: "ENOTDIR" });
}

function cannotUse(path: string, needs: FolderNeeds, cause: unknown): PipelineError {
  if (isFull(cause))
    return new PipelineError(needs.full, `${path} has no room for a small file; make room`, {
      cause,
    });
  return new PipelineError(
    needs.code,
    `${path} cannot be used (${systemCode(cause) ?? "unknown error"}); expected a folder that this user can write to`,
    { cause },
  );
}

/** Names begin as those of unfinished files do, so that nobody takes them for an object, and are random. */
const probePrefix = `${incomingPrefix}doctor-`;
const probeName = /^[0-9a-f-]{36}-[123]$/;

/** A look that was killed could not take its files back; the next one does. */
async function removeLeftovers(folder: string): Promise<void> {
  let left = mostEntries;
  for await (const { name } of await opendir(folder)) {
    const isProbe = name.startsWith(probePrefix) && probeName.test(name.slice(probePrefix.length));
    if (isProbe) await rm(join(folder, name), { force: true });
    if ((left -= 1) === 0) return;
  }
}

/** @throws what the system says, or that a promise about files does not hold */
async function tryFiles(folder: string, links: boolean, left = 3): Promise<void> {
  const stem = join(folder, `${probePrefix}${randomUUID()}`);
  const [written, renamed, pointer] = [`${stem}-1`, `${stem}-2`, `${stem}-3`] as const;
  try {
    await writeSynced(written, [Buffer.from("spillway doctor\n")]);
    await rename(written, renamed);
    await syncFolder(folder);
    if (links && (!(await linkOnce(renamed, written)) || (await linkOnce(renamed, written))))
      throw untrue("a hard link took a name that was taken");
    await symlink(renamed, pointer);
    if (await opens(pointer)) throw untrue("O_NOFOLLOW followed a symbolic link");
  } catch (error) {
    // Another look beside this one may have taken these files for leftovers.
    if (systemCode(error) !== "ENOENT" || left === 0) throw error;
    await tryFiles(folder, links, left - 1);
  } finally {
    for (const path of [written, renamed, pointer]) await rm(path, { force: true });
  }
}

async function opens(path: string): Promise<boolean> {
  try {
    await (await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)).close();
    return true;
  } catch (error) {
    if (systemCode(error) === "ELOOP") return false;
    throw error;
  }
}

function untrue(what: string): PipelineError {
  return new PipelineError(
    "destination-refused",
    `${what}; nothing is safe from being overwritten here, choose a folder on another file system`,
  );
}

type Kind = "local" | "memory" | "network" | "layered" | "user space";

/** By the number statfs gives: linux/magic.h and the headers of each file system. */
const fileSystems: Readonly<Record<number, readonly [name: string, kind: Kind]>> = {
  0xef53: ["ext4", "local"],
  0x58465342: ["xfs", "local"],
  0x9123683e: ["btrfs", "local"],
  0x2fc12fc1: ["zfs", "local"],
  0xf2f52010: ["f2fs", "local"],
  0xca451a4e: ["bcachefs", "local"],
  0x01021994: ["tmpfs", "memory"],
  0x858458f6: ["ramfs", "memory"],
  0x6969: ["nfs", "network"],
  0xff534d42: ["cifs", "network"],
  0xfe534d42: ["smb2", "network"],
  0x00c36400: ["ceph", "network"],
  0x0bd00bd0: ["lustre", "network"],
  0x01021997: ["9p", "network"],
  0x794c7630: ["overlayfs", "layered"],
  0x65735546: ["fuse", "user space"],
};

const advices: Readonly<Record<Exclude<Kind, "local">, string>> = {
  memory:
    "what lies there is gone after a restart of the machine, and counts as memory; choose a folder on a disk",
  network:
    "locks and fsync are as good as its server and mount options; choose a local disk where you can",
  layered:
    "in a container this layer goes with it, unfinished runs too; choose a folder on a volume",
  "user space":
    "whether fsync and locks hold is up to the program behind it; choose a local disk where you can",
};

/** What is known of a file system by its number. */
export function describeFileSystem(type: number): Finding {
  // Some platforms give the number signed.
  const [name, kind] = fileSystems[type >>> 0] ?? [];
  if (name === undefined || kind === undefined)
    return good("file system", `of a type not known here (0x${(type >>> 0).toString(16)})`);
  if (kind === "local") return good("file system", `${name}, local`);
  const what = kind === "memory" ? "in memory" : kind === "network" ? "over the network" : kind;
  return doubt("file system", `${name}, ${what}`, advices[kind]);
}
