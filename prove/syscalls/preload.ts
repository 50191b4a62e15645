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

type Callback = (error: unknown, ...values: readonly unknown[]) => void;
type Calling = (...given: readonly unknown[]) => void;

/** The same for a call that calls back. */
function aroundCallback(
  meet: Meet,
  operation: string,
  call: Calling,
  pathOf: (given: readonly unknown[]) => unknown,
): Calling {
  const watched = around(meet, operation, (...given) => promised(call, ...given), pathOf);
  return (...given) => {
    const done = given.at(-1) as Callback;
    watched(...given.slice(0, -1)).then((value) => done(null, value), done);
  };
}

/**
 * Calls that call back, in the one form that the disk of `src/stages/disk.ts` has them in; Node's own streams have it too.
 * Files are known by their descriptors, from when they are opened until they are closed.
 */
function watchCallbacks(meet: Meet): void {
  const calls = fs as unknown as Record<string, Calling>;
  const paths = new Map<unknown, unknown>();
  const written = new Set<unknown>();
  const byDescriptor = ([descriptor]: readonly unknown[]) => paths.get(descriptor);
  const real = { ...calls };
  calls["unlink"] = aroundCallback(meet, "unlink", real["unlink"]!, ([path]) => path);
  for (const name of ["rename", "link"])
    calls[name] = aroundCallback(meet, name, real[name]!, ([, path]) => path);
  const others = { fsync: "fsync", fdatasync: "datasync", ftruncate: "truncate" };
  for (const [name, operation] of Object.entries(others))
    calls[name] = aroundCallback(meet, operation, real[name]!, byDescriptor);
  const create = aroundCallback(meet, "create", real["open"]!, ([path]) => path);
  calls["open"] = (path, flags, mode, done) => {
    const open = Number(flags) & O_CREAT ? create : real["open"]!;
    open(path, flags, mode, (error: unknown, descriptor: unknown) => {
      if (!error) paths.set(descriptor, path);
      if (!error && Number(flags) & (O_WRONLY | O_RDWR)) written.add(descriptor);
      (done as Callback)(error, descriptor);
    });
  };
  calls["write"] = (descriptor, bytes, from, length, position, done) => {
    const write = writeWatched(meet, paths.get(descriptor), (taken) =>
      promised(real["write"]!, descriptor, bytes, from, taken, position),
    );
    write(Number(length)).then((taken) => (done as Callback)(null, taken), done as Callback);
  };
  calls["close"] = (descriptor, done) => {
    const path = paths.get(descriptor);
    paths.delete(descriptor);
    const close = () => promised(real["close"]!, descriptor);
    const closing = written.delete(descriptor) ? closeWatched(meet, path, close) : close();
    closing.then(() => (done as Callback)(null), done as Callback);
  };
}

const promised = (call: Calling, ...given: readonly unknown[]): Promise<unknown> =>
  new Promise((resolve, reject) => {
    call(...given, (error: unknown, value: unknown) => (error ? reject(error) : resolve(value)));
  });

/** A write that may take half of what it is given, fail, or be the last. */
const writeWatched =
  (meet: Meet, path: unknown, write: (length: number) => Promise<unknown>) =>
  async (length: number): Promise<unknown> => {
    const planned = meet(path, "write");
    const half = halves.includes(planned);
    if (!half) begin(planned);
    const result = await write(half ? Math.ceil(length / 2) : length);
    end(planned);
    return result;
  };

/** A descriptor is gone even where closing it fails. */
async function closeWatched(meet: Meet, path: unknown, close: Work): Promise<void> {
  const planned = meet(path, "close");
  if (planned !== "kill-before") await close();
  begin(planned);
  end(planned);
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
  replace("write", async function watchedWrite(bytes, from, length, position) {
    const work = (taken: number) => write.call(this, bytes, from, taken, position);
    return await writeWatched(meet, paths.get(this), work)(Number(length));
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

function watchClose(file: FileHandle, path: string, meet: Meet): void {
  const close = file.close.bind(file);
  file.close = () => closeWatched(meet, path, close);
}

const orders = process.env[ordersVariable];
if (orders !== undefined && isMainThread) {
  const meet = followOrders(JSON.parse(orders) as Orders);
  watchCalls(meet);
  watchCallbacks(meet);
  watchFiles(meet);
  syncBuiltinESMExports();
}
