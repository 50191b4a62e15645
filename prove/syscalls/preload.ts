/**
 * Loaded before everything else into a command that is to fail: counts what it asks of the disk in the folders it is told
 * of, and at one of these operations kills the process or lets the operation fail.
 *
 * An operation is named by what it does to which file, and how often that was done: `spool/job/acks.ndjson write#2`.
 */
import fs from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";
import { ordersVariable, type Act, type Orders } from "./orders.ts";

type Work = (...given: readonly unknown[]) => Promise<unknown>;
type Method = (this: FileHandle, ...given: readonly unknown[]) => Promise<unknown>;

/** Operations that take room: they fail again and again on a disk that is full. */
const takesRoom = /^(create|write|fsync|datasync|mkdir|rename|link)$/;
const codes: Partial<Record<Act, string>> = {
  EIO: "EIO",
  ENOSPC: "ENOSPC",
  EDQUOT: "EDQUOT",
  full: "ENOSPC",
  "half-full": "ENOSPC",
};
const halves: readonly (Act | undefined)[] = ["half", "half-full", "kill-half"];
const { O_CREAT, O_RDWR, O_WRONLY } = fs.constants;

/** Says of each operation what becomes of it; undefined for nothing special. */
type Meet = (path: unknown, operation: string) => Act | undefined;

function followOrders({ roots, log, at, act }: Orders): Meet {
  const counts = new Map<string, number>();
  let fullRoot: string | undefined;
  const note = (line: string) => fs.appendFileSync(log, `${line}\n`);
  return (path, operation) => {
    const found = Object.entries(roots).find(([, folder]) =>
      `${String(path)}/`.startsWith(`${folder}/`),
    );
    if (!found) return undefined;
    const [root, folder] = found;
    const kind = `${root}${withoutChance(String(path).slice(folder.length))} ${operation}`;
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    if (root === fullRoot && takesRoom.test(operation)) return "full";
    if (at === undefined) note(`${kind}#${count}`);
    if (at !== `${kind}#${count}`) return undefined;
    note("reached");
    if (act === "full" || act === "half-full") fullRoot = root;
    return act;
  };
}

/** Names that every run makes anew have one word here. */
const withoutChance = (path: string) =>
  path
    .replace(/\d{8}T\d{9}Z-[0-9a-f]{8}/g, "RUN")
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "UUID")
    .replace(/last-[0-9a-f]{16}/, "last");

function kill(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal may take a moment, in which nothing more may happen.
  for (;;);
}

function begin(planned: Act | undefined): void {
  if (planned === "kill-before") kill();
  const code = planned && codes[planned];
  if (code) throw Object.assign(new Error(`${code}: as ordered`), { code });
}

/** Also where it fails: a name that is taken already, say. */
function end(planned: Act | undefined): void {
  if (planned?.startsWith("kill-")) kill();
}

const around =
  (meet: Meet, operation: string, work: Work, pathOf: (given: readonly unknown[]) => unknown) =>
  async (...given: readonly unknown[]) => {
    const planned = meet(pathOf(given), operation);
    begin(planned);
    try {
      return await work(...given);
    } finally {
      end(planned);
    }
  };

/** Calls that name a file; one that gets a new name is known by that. */
function watchCalls(meet: Meet): void {
  const calls = fs.promises as unknown as Record<string, Work>;
  for (const name of ["mkdir", "unlink", "rm"])
    calls[name] = around(meet, name, calls[name]!, ([path]) => path);
  for (const name of ["rename", "link"])
    calls[name] = around(meet, name, calls[name]!, ([, path]) => path);
  const { openSync } = fs;
  fs.openSync = (path, flags, mode) => {
    const planned = flags === "wx" ? meet(path, "create") : undefined;
    begin(planned);
    try {
      return openSync(path, flags, mode);
    } finally {
      end(planned);
    }
  };
}

/** Files are watched from when they are opened; the methods of all of them are replaced with the first. */
function watchFiles(meet: Meet): void {
  const paths = new WeakMap<object, unknown>();
  const { open } = fs.promises;
  let replaced = false;
  const openWatched = async (path: string, flags: number | string = "r", mode?: number) => {
    const creates = typeof flags === "number" ? (flags & O_CREAT) !== 0 : flags !== "r";
    const writes = typeof flags === "number" ? (flags & (O_WRONLY | O_RDWR)) !== 0 : creates;
    const work = () => open(path, flags, mode);
    const file = (await (creates
      ? around(meet, "create", work, () => path)()
      : work())) as FileHandle;
    paths.set(file, path);
    if (!replaced) replaceMethods(Object.getPrototypeOf(file) as object, meet, paths);
    replaced = true;
    if (writes) watchClose(file, path, meet);
    return file;
  };
  fs.promises.open = openWatched as typeof open;
}

function replaceMethods(prototype: object, meet: Meet, paths: WeakMap<object, unknown>): void {
  const real = {
    ...(Object.getOwnPropertyDescriptors(prototype) as Record<string, { value?: Method }>),
  };
  const replace = (name: string, value: Method) =>
    Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
  const write = real["write"]!.value!;
  replace("write", async function writeWatched(bytes, from, length, position) {
    const planned = meet(paths.get(this), "write");
    const half = halves.includes(planned);
    if (!half) begin(planned);
    const taken = half ? Math.ceil(Number(length) / 2) : length;
    const result = await write.call(this, bytes, from, taken, position);
    end(planned);
    return result;
  });
  const others = { sync: "fsync", datasync: "datasync", truncate: "truncate" };
  for (const [name, operation] of Object.entries(others)) {
    const call = real[name]!.value!;
    replace(name, function watched(...given) {
      return around(
        meet,
        operation,
        () => call.apply(this, [...given]),
        () => paths.get(this),
      )();
    });
  }
}

/** A descriptor is gone even where closing it fails. */
function watchClose(file: FileHandle, path: string, meet: Meet): void {
  const close = file.close.bind(file);
  file.close = async () => {
    const planned = meet(path, "close");
    if (planned !== "kill-before") await close();
    begin(planned);
    end(planned);
  };
}

const orders = process.env[ordersVariable];
if (orders !== undefined && isMainThread) {
  const meet = followOrders(JSON.parse(orders) as Orders);
  watchCalls(meet);
  watchFiles(meet);
  syncBuiltinESMExports();
}
