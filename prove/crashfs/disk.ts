/**
 * A disk that can lose power: the port of the real code (`src/stages/world.ts`) over files that know what is synced. Every
 * call waits for its turn, may take less than it was given, and may fail, with or without having done its work.
 */
import { constants } from "node:fs";
import type { Disk, DiskFile, Found } from "../../src/stages/world.ts";
import { FileNode, FolderNode, below, type Random, type TreeNode } from "./files.ts";
import type { Turns } from "./turns.ts";

export type Call =
  | "open"
  | "read"
  | "write"
  | "truncate"
  | "sync"
  | "close"
  | "list"
  | "stat"
  | "mkdir"
  | "link"
  | "rename"
  | "unlink";

/** What the disk does wrong. */
export interface Trouble {
  /** The chance that a call reads or writes less than it was asked to. */
  readonly short: number;
  /** What a call fails with; `done` when it did its work all the same. */
  fault(call: Call): { readonly code: string; readonly done: boolean } | undefined;
}

export interface CrashDiskInit {
  readonly root: FolderNode;
  readonly turns: Turns;
  readonly random: Random;
  readonly trouble: Trouble;
  /** Called before each change of what is on the disk; the world may end in it, by an exception. */
  readonly onChange: () => void;
  /** The moment of the latest change, which grows from life to life. */
  readonly moment: () => number;
  /** Told of each call, for people. */
  readonly trace?: ((line: string) => void) | undefined;
}

const failure = (code: string, call: string) =>
  Object.assign(new Error(`${code}: ${call}`), { code, syscall: call });

function lookUp(root: FolderNode) {
  const folderAt = (segments: readonly string[]): FolderNode => {
    let node: TreeNode | undefined = root;
    for (const segment of segments) {
      if (!(node instanceof FolderNode)) throw failure("ENOTDIR", "lookup");
      node = node.get(segment);
      if (!node) throw failure("ENOENT", "lookup");
    }
    if (!(node instanceof FolderNode)) throw failure("ENOTDIR", "lookup");
    return node;
  };
  const place = (path: string) => {
    const segments = path.split("/").filter(Boolean);
    const name = segments.pop() ?? ".";
    const folder = folderAt(segments);
    return { folder, name, node: name === "." ? folder : folder.get(name) };
  };
  const existing = (path: string) => {
    const { node, ...rest } = place(path);
    if (!node) throw failure("ENOENT", "lookup");
    return { node, ...rest };
  };
  return { place, existing };
}

export function createCrashDisk(init: CrashDiskInit): Disk {
  const { root, turns, trouble, trace } = init;
  const act: Act = (call, path, work) =>
    turns.take(() => {
      const fault = trouble.fault(call);
      trace?.(`${call} ${path}${fault ? ` ${fault.code}${fault.done ? " but done" : ""}` : ""}`);
      if (!fault) return work(false);
      if (fault.done) work(false);
      else if (call === "sync") work(true);
      throw failure(fault.code, call);
    });
  const inside = { ...init, ...lookUp(root), act };
  return { ...lookingCalls(inside), ...namingCalls(inside) };
}

type Inside = CrashDiskInit & ReturnType<typeof lookUp> & { readonly act: Act };

function lookingCalls(inside: Inside): Pick<Disk, "open" | "readFile" | "opendir" | "lstat"> {
  const { place, existing, act, random, onChange, moment } = inside;
  const openNode = (path: string, flags: number): TreeNode => {
    const { folder, name, node } = place(path);
    if (node) {
      if (flags & constants.O_EXCL) throw failure("EEXIST", "open");
      if (node instanceof FileNode && flags & constants.O_DIRECTORY)
        throw failure("ENOTDIR", "open");
      return node;
    }
    if (!(flags & constants.O_CREAT)) throw failure("ENOENT", "open");
    onChange();
    const made = new FileNode();
    folder.set(name, made, moment());
    return made;
  };
  return {
    open: async (path, flags) => {
      const node = await act("open", path, () => openNode(path, flags));
      return openedFile(node, (flags & constants.O_APPEND) !== 0, { ...inside, path });
    },
    readFile: (path) =>
      act("read", path, () => {
        const { node } = existing(path);
        if (node instanceof FolderNode) throw failure("EISDIR", "read");
        return Buffer.from(node.now);
      }),
    opendir: (path) =>
      act("list", path, () => {
        const { node } = existing(path);
        if (node instanceof FileNode) throw failure("ENOTDIR", "opendir");
        const entries = shuffle(node.entries(), random);
        return (async function* () {
          for (const [name, entry] of entries) yield { name, ...found(entry) };
        })();
      }),
    lstat: (path) => act("stat", path, () => found(existing(path).node)),
  };
}

function namingCalls({ place, existing, act, onChange, moment }: Inside) {
  const set = (folder: FolderNode, name: string, node: TreeNode | undefined) =>
    folder.set(name, node, moment());
  const calls: Pick<Disk, "mkdir" | "link" | "rename" | "unlink" | "rmdir" | "rm"> = {
    mkdir: (path) =>
      act("mkdir", path, () => {
        const { folder, name, node } = place(path);
        if (node) throw failure("EEXIST", "mkdir");
        onChange();
        set(folder, name, new FolderNode());
      }),
    link: (from, to) =>
      act("link", to, () => {
        const { node } = existing(from);
        const target = place(to);
        if (target.node) throw failure("EEXIST", "link");
        onChange();
        set(target.folder, target.name, node);
      }),
    rename: (from, to) =>
      act("rename", to, () => {
        const source = existing(from);
        const target = place(to);
        onChange();
        set(target.folder, target.name, source.node);
        set(source.folder, source.name, undefined);
      }),
    unlink: (path) =>
      act("unlink", path, () => {
        const { folder, name, node } = existing(path);
        if (node instanceof FolderNode) throw failure("EISDIR", "unlink");
        onChange();
        set(folder, name, undefined);
      }),
    rmdir: (path) =>
      act("unlink", path, () => {
        const { folder, name, node } = existing(path);
        if (!(node instanceof FolderNode)) throw failure("ENOTDIR", "rmdir");
        if (node.entries().length > 0) throw failure("ENOTEMPTY", "rmdir");
        onChange();
        set(folder, name, undefined);
      }),
    async rm(path, { recursive = false }) {
      const inside = await act("list", path, () => {
        const { node } = place(path);
        return node && (node instanceof FolderNode ? node.entries() : "file");
      });
      if (!inside) return;
      if (inside === "file") return calls.unlink(path);
      for (const [name] of inside) await calls.rm(`${path}/${name}`, { recursive, force: true });
      await act("unlink", path, () => {
        const { folder, name } = existing(path);
        onChange();
        set(folder, name, undefined);
      });
    },
  };
  return calls;
}

type Act = <T>(call: Call, path: string, work: (fails: boolean) => T) => Promise<T>;

type Opened = Inside & { readonly path: string };

function openedFile(
  node: TreeNode,
  appends: boolean,
  { trouble, random, onChange, moment, act, path }: Opened,
): DiskFile {
  let at = 0;
  const file = () => {
    if (node instanceof FolderNode) throw failure("EISDIR", "read");
    return node;
  };
  const some = (bytes: number) =>
    bytes > 1 && random() < trouble.short ? 1 + below(random, bytes) : bytes;
  const sync = () =>
    act("sync", path, (fails) => {
      onChange();
      node.sync(!fails);
    });
  return {
    read: (into, offset, length, position) =>
      act("read", path, () => {
        const { now } = file();
        const bytes = Math.min(length, Math.max(0, now.length - position));
        const taken = now.subarray(position, position + some(bytes));
        into.set(taken, offset);
        return { bytesRead: taken.length };
      }),
    write: (bytes, offset, length, position) =>
      act("write", path, () => {
        onChange();
        const taken = bytes.subarray(offset, offset + some(length));
        const { now } = file();
        file().write(taken, position ?? (appends ? now.length : at), moment());
        if (position === null) at += taken.length;
        return { bytesWritten: taken.length };
      }),
    truncate: (bytes) =>
      act("truncate", path, () => {
        onChange();
        file().truncate(bytes, moment());
      }),
    stat: () => act("stat", path, () => found(node)),
    sync,
    datasync: sync,
    close: () => act("close", path, () => {}),
  };
}

const found = (node: TreeNode): Found => ({
  size: node instanceof FileNode ? node.now.length : 0,
  mode: node instanceof FileNode ? 0o100600 : 0o40700,
  dev: 1,
  ino: node.ino,
  isFile: () => node instanceof FileNode,
  isDirectory: () => node instanceof FolderNode,
  isSymbolicLink: () => false,
});

function shuffle<T>(items: T[], random: Random): T[] {
  for (let i = items.length - 1; i > 0; i -= 1) {
    const j = below(random, i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}
