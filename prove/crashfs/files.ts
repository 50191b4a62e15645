/**
 * Files and folders as a disk keeps them: what a program sees now, and beside it what of that a power cut may undo.
 *
 * A file's changes and a folder's names are undone each by itself, in any order, torn or whole, until a sync of that file
 * or that folder has succeeded. A file whose sync failed promises nothing, then or later (fsync, ATC '20): changes it was
 * to keep may be gone after any number of syncs that succeed.
 */

export type Random = () => number;

/** An integer from 0 to `end`, which is not included. */
export const below = (random: Random, end: number): number => Math.floor(random() * end);

export const pick = <T>(random: Random, among: readonly T[]): T =>
  among[below(random, among.length)]!;

/** How a power cut treats what was not synced. */
export interface Cut {
  readonly random: Random;
  /** Only what happened up to this moment may survive, all of it: a disk that keeps order. Absent: each for itself. */
  readonly moment?: number;
  /** The chance of each unsynced change to survive, where there is no order. */
  readonly survival: number;
}

const survives = ({ random, moment, survival }: Cut, when: number): boolean =>
  moment === undefined ? random() < survival : when <= moment;

type Fate = "open" | "synced" | "doubtful";

interface Change {
  readonly when: number;
  /** Absent: the file is cut to `at` bytes. */
  readonly bytes?: Uint8Array;
  readonly at: number;
  fate: Fate;
}

let inodes = 0;

/** Torn writes are torn here; small, so that small files have several. */
const sectorBytes = 64;

export class FileNode {
  readonly ino: number = (inodes += 1);
  /** What a program reads. */
  now: Buffer;
  /** What surely is on the disk; `changes` come on top. */
  private base: Buffer;
  private changes: Change[] = [];

  constructor(content: Buffer = Buffer.alloc(0)) {
    this.now = content;
    this.base = content;
  }

  write(bytes: Uint8Array, at: number, when: number): void {
    const change = { bytes: Uint8Array.from(bytes), at, when, fate: "open" as const };
    this.now = apply(this.now, change);
    this.changes.push(change);
  }

  truncate(at: number, when: number): void {
    this.now = apply(this.now, { at });
    this.changes.push({ at, when, fate: "open" });
  }

  sync(succeeds: boolean): void {
    for (const change of this.changes) {
      if (change.fate === "open") change.fate = succeeds ? "synced" : "doubtful";
    }
    while (this.changes[0]?.fate === "synced") this.base = apply(this.base, this.changes.shift()!);
  }

  /** The file as it may lie on the disk after a power cut. */
  afterCut(cut: Cut): FileNode {
    let content = this.base;
    for (const change of this.changes) {
      if (change.fate === "synced") content = apply(content, change);
      else if (survives(cut, change.when)) content = apply(content, change);
      else if (cut.moment === undefined && change.bytes)
        content = tear(content, change, cut.random);
    }
    return new FileNode(content);
  }
}

function apply(content: Buffer, { bytes, at }: Pick<Change, "bytes" | "at">): Buffer {
  if (!bytes) return grow(content, at).subarray(0, at);
  const end = at + bytes.length;
  const next = grow(content, end);
  next.set(bytes, at);
  return next;
}

/** A copy, with zeros up to a size. */
function grow(content: Buffer, bytes: number): Buffer {
  const next = Buffer.alloc(Math.max(content.length, bytes));
  next.set(content);
  return next;
}

/** A write that did not survive whole: nothing of it, its beginning, or some of its sectors. */
function tear(content: Buffer, { bytes, at }: Change, random: Random): Buffer {
  const part = bytes!;
  const how = below(random, 4);
  if (how < 2) return content;
  if (how === 2)
    return apply(content, { at, bytes: part.subarray(0, below(random, part.length + 1)) });
  const next = grow(content, at + part.length);
  for (let from = 0; from < part.length; from += sectorBytes) {
    const sector = part.subarray(from, from + sectorBytes);
    const fate = below(random, 3);
    if (fate === 0) next.set(sector, at + from);
    // A block that was given to the file and never written holds what somebody else left in it.
    else if (fate === 1 && at + from >= content.length) next.fill(below(random, 256), at + from);
  }
  return next;
}

export type TreeNode = FileNode | FolderNode;

/** What one name meant, from what is surely on the disk to what a program sees. */
interface Meanings {
  readonly values: { readonly node: TreeNode | undefined; readonly when: number }[];
  /** Those before it are overwritten on the disk for sure. */
  least: number;
}

export class FolderNode {
  readonly ino: number = (inodes += 1);
  private readonly names = new Map<string, Meanings>();

  get(name: string): TreeNode | undefined {
    return this.names.get(name)?.values.at(-1)!.node;
  }

  set(name: string, node: TreeNode | undefined, when: number): void {
    const meanings = this.names.get(name) ?? {
      values: [{ node: undefined, when: 0 }],
      least: 0,
    };
    meanings.values.push({ node, when });
    this.names.set(name, meanings);
  }

  /** In an order of its own, as folders are listed. */
  entries(): [string, TreeNode][] {
    const found: [string, TreeNode][] = [];
    for (const [name, { values }] of this.names) {
      const { node } = values.at(-1)!;
      if (node) found.push([name, node]);
    }
    return found;
  }

  /** After a failed sync all is as before: file systems that keep a journal lose names together or not at all. */
  sync(succeeds: boolean): void {
    if (!succeeds) return;
    for (const [name, meanings] of this.names) {
      meanings.least = meanings.values.length - 1;
      if (!meanings.values.at(-1)!.node) this.names.delete(name);
    }
  }

  /** The folder and all below it as they may lie on the disk after a power cut. A file with two names stays one file. */
  afterCut(cut: Cut, known: Map<TreeNode, TreeNode>): FolderNode {
    const after = new FolderNode();
    for (const [name, { values, least }] of this.names) {
      let at = least;
      for (let i = least + 1; i < values.length; i += 1) if (survives(cut, values[i]!.when)) at = i;
      const { node } = values[at]!;
      if (!node) continue;
      let copy = known.get(node);
      if (!copy) known.set(node, (copy = node.afterCut(cut, known)));
      after.names.set(name, { values: [{ node: copy, when: 0 }], least: 0 });
    }
    return after;
  }
}
