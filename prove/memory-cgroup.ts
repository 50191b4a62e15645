/**
 * A memory cgroup for a proof, version 2 where there is one, else 1: `man 7 cgroups`. Memory in it is limited, swap is none.
 * A group is made below a group of our own, where the kernel lets us; it is removed in the end.
 */
import { access, constants, mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface MemoryCgroup {
  readonly version: 1 | 2;
  /** What a shell does to be in it, with all it starts from then on. */
  readonly enter: string;
  events(): Promise<CgroupEvents>;
  remove(): Promise<void>;
}

export interface CgroupEvents {
  readonly oomKills: number;
  /** Programs, buffers and cached files together. */
  readonly peakBytes: number;
}

/** Makes a group, or says why there can be none. */
export async function createMemoryCgroup(limitBytes: number): Promise<MemoryCgroup | string> {
  const reasons: string[] = [];
  for (const { version, parent } of await findParents()) {
    const folder = join(parent, `spillway-${process.pid}`);
    try {
      await access(parent, constants.W_OK);
      await mkdir(folder);
    } catch (error) {
      reasons.push(`${parent}: ${codeOf(error)}`);
      continue;
    }
    try {
      await limit(folder, version, limitBytes);
      return openGroup(folder, version);
    } catch (error) {
      reasons.push(`${folder}: ${codeOf(error)}`);
      await rmdir(folder);
    }
  }
  const tried = reasons.join("; ") || "no mounted cgroup has the memory controller for us";
  return `no memory cgroup can be made here (${tried})`;
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);

interface Parent {
  readonly version: 1 | 2;
  readonly parent: string;
}

/** Version 2 gives a group memory only below groups that hold no processes; version 1 below our own. */
async function findParents(): Promise<Parent[]> {
  const mounts = (await read("/proc/self/mountinfo")).split("\n").map((line) => {
    const [fields = "", tail = ""] = line.split(" - ");
    const [, , , root = "", point = ""] = fields.split(" ");
    const [type = "", , options = ""] = tail.split(" ");
    return { root, point, type, options: options.split(",") };
  });
  const groups = (await read("/proc/self/cgroup")).split("\n").map((line) => {
    const [, controllers = "", ...path] = line.split(":");
    return { controllers: controllers.split(","), path: path.join(":") };
  });
  const folderOf = ({ root, point }: { root: string; point: string }, path: string) =>
    join(point, path.startsWith(root) ? path.slice(root.length) : path);

  const parents: Parent[] = [];
  const unified = mounts.find(({ type }) => type === "cgroup2");
  const own = groups.find(({ controllers }) => controllers[0] === "");
  if (unified && own) {
    for (let at = folderOf(unified, own.path); at.startsWith(unified.point); at = dirname(at)) {
      const given = (await read(join(at, "cgroup.subtree_control"))).trim().split(" ");
      if (given.includes("memory")) parents.push({ version: 2, parent: at });
    }
  }
  const memory = mounts.find(
    ({ type, options }) => type === "cgroup" && options.includes("memory"),
  );
  const ownMemory = groups.find(({ controllers }) => controllers.includes("memory"));
  if (memory && ownMemory) parents.push({ version: 1, parent: folderOf(memory, ownMemory.path) });
  return parents;
}

const read = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");

async function limit(folder: string, version: 1 | 2, bytes: number): Promise<void> {
  const write = (name: string, value: string) => writeFile(join(folder, name), value);
  if (version === 2) {
    await write("memory.max", String(bytes));
    await write("memory.swap.max", "0").catch(() => refuseSwap());
  } else {
    await write("memory.limit_in_bytes", String(bytes));
    // Memory and swap together; a kernel without the accounting of swap has no such file.
    await write("memory.memsw.limit_in_bytes", String(bytes)).catch(() => refuseSwap());
  }
  const name = version === 2 ? "memory.max" : "memory.limit_in_bytes";
  const now = Number(await read(join(folder, name)));
  if (now !== bytes) throw new Error(`${name} is ${now} after ${bytes} was written`);
}

/** Where swap cannot be forbidden there must be none. */
async function refuseSwap(): Promise<void> {
  if (!/^SwapTotal:\s+0 kB$/m.test(await read("/proc/meminfo")))
    throw new Error("swap cannot be forbidden to the group");
}

function openGroup(folder: string, version: 1 | 2): MemoryCgroup {
  const number = async (name: string) => Number(await read(join(folder, name)));
  const field = async (name: string, key: string) =>
    Number(
      new RegExp(`^${key} (\\d+)$`, "m").exec(await read(join(folder, name)))?.[1] ?? Number.NaN,
    );
  return {
    version,
    enter: `echo $$ > '${join(folder, "cgroup.procs")}'`,
    async events() {
      return version === 2
        ? {
            oomKills: await field("memory.events", "oom_kill"),
            peakBytes: await number("memory.peak"),
          }
        : {
            oomKills: await field("memory.oom_control", "oom_kill"),
            peakBytes: await number("memory.max_usage_in_bytes"),
          };
    },
    remove: () => rmdir(folder),
  };
}
