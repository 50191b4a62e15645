/** Files and folders in memory, as a healthy SFTP server answers for them. */
import { posix } from "node:path";
import { type Asked, type Told, type Verb, answers, status } from "./sftp-packets.ts";

/** A file may have several names. */
export interface KeptFile {
  bytes: Buffer;
  changed: number;
}

export interface SftpFiles {
  readonly files: Map<string, KeptFile>;
  readonly folders: Set<string>;
  /** Whether names that differ in case alone are one. */
  foldsCase: boolean;
  /** Whether a rename refuses a name that is taken. */
  renames: "honour" | "overwrite";
}

/** What the handles of one channel stand for. */
export interface Handles {
  readonly paths: Map<string, string>;
  readonly opened: Map<string, KeptFile>;
  readonly unread: Map<string, string[]>;
}

type Answer = (asked: Asked) => Buffer;
type Answers = Partial<Record<Verb, Answer>>;

const [writes, creates, excludes] = [0x02, 0x08, 0x20];
const namesAtOnce = 5;

/** Answers to what is asked over one channel. */
export function serveFiles(state: SftpFiles, handles: Handles): Answer {
  const fold = (path: string) => {
    const whole = posix.normalize(path);
    return state.foldsCase ? whole.toLowerCase() : whole;
  };
  const known: Answers = {
    ...namesOf(state),
    ...contentsOf(state, handles),
    ...listingsOf(state, handles),
  };
  return (asked) => {
    const answer = known[asked.verb];
    const { id, path, to } = asked;
    if (!answer) return answers.status(id, status.unsupported);
    return answer({ ...asked, path: fold(path), to: fold(to) });
  };
}

const toldOf = (state: SftpFiles, path: string): Told | undefined => {
  if (state.folders.has(path)) return { isFolder: true, size: 0, changed: 0 };
  const file = state.files.get(path);
  return file && told(file);
};

const told = (file: KeptFile): Told => ({
  isFolder: false,
  size: file.bytes.length,
  changed: file.changed,
});

function namesOf(state: SftpFiles): Answers {
  const { files, folders } = state;
  const name = ({ id, verb, path, to }: Asked) => {
    const file = files.get(path);
    if (!file) return answers.status(id, status.noFile);
    const overwrites = verb === "rename" && state.renames === "overwrite";
    if (toldOf(state, to) && !overwrites) return answers.status(id, status.failure);
    files.set(to, file);
    if (verb === "rename") files.delete(path);
    return answers.status(id, status.ok);
  };
  return {
    link: name,
    rename: name,
    lstat({ id, path }) {
      const found = toldOf(state, path);
      return found ? answers.attributes(id, found) : answers.status(id, status.noFile);
    },
    mkdir({ id, path }) {
      const fails = toldOf(state, path) !== undefined || !folders.has(posix.dirname(path));
      if (!fails) folders.add(path);
      return answers.status(id, fails ? status.failure : status.ok);
    },
    remove: ({ id, path }) => answers.status(id, files.delete(path) ? status.ok : status.noFile),
  };
}

function contentsOf(state: SftpFiles, { paths, opened }: Handles): Answers {
  const ofFile =
    (work: (file: KeptFile, asked: Asked) => Buffer): Answer =>
    (asked) => {
      const file = opened.get(asked.handle);
      return file ? work(file, asked) : answers.status(asked.id, status.failure);
    };
  return {
    open({ id, path, flags }) {
      const found = openFile(state, path, flags);
      if (typeof found === "number") return answers.status(id, found);
      const handle = handleTo(paths, path);
      opened.set(handle, found);
      return answers.handle(id, handle);
    },
    read: ofFile(({ bytes }, { id, offset, length }) => {
      const piece = bytes.subarray(offset, offset + length);
      return piece.length > 0 ? answers.data(id, piece) : answers.status(id, status.end);
    }),
    write: ofFile((file, { id, bytes, offset }) => {
      keep(file, bytes, offset);
      return answers.status(id, status.ok);
    }),
    fstat: ofFile((file, { id }) => answers.attributes(id, told(file))),
    fsync: ofFile((_, { id }) => answers.status(id, status.ok)),
    close({ id, handle }) {
      opened.delete(handle);
      return answers.status(id, paths.delete(handle) ? status.ok : status.failure);
    },
  };
}

function listingsOf(state: SftpFiles, { paths, unread }: Handles): Answers {
  return {
    opendir({ id, path }) {
      if (!state.folders.has(path)) return answers.status(id, status.noFile);
      const handle = handleTo(paths, path);
      const isBelow = (name: string) => name !== path && posix.dirname(name) === path;
      unread.set(handle, [...state.folders, ...state.files.keys()].filter(isBelow));
      return answers.handle(id, handle);
    },
    readdir({ id, handle }) {
      const next = unread.get(handle)?.splice(0, namesAtOnce) ?? [];
      if (next.length === 0) return answers.status(id, status.end);
      const entry = (path: string) => ({ name: posix.basename(path), ...toldOf(state, path)! });
      return answers.names(id, next.map(entry));
    },
  };
}

/** The lowest number that is free, as OpenSSH gives them. */
function handleTo(paths: Map<string, string>, path: string): string {
  let number = 0;
  while (paths.has(String(number))) number += 1;
  paths.set(String(number), path);
  return String(number);
}

/** @returns the status where it cannot be opened */
function openFile({ files, folders }: SftpFiles, path: string, flags: number): KeptFile | number {
  const found = files.get(path);
  if ((flags & creates) === 0) return found ?? status.noFile;
  if (found && (flags & excludes) !== 0) return status.failure;
  if ((flags & writes) === 0 || !folders.has(posix.dirname(path))) return status.noFile;
  const made = { bytes: Buffer.alloc(0), changed: 1 };
  files.set(path, made);
  return made;
}

function keep(file: KeptFile, bytes: Buffer, offset: number): void {
  const end = Math.max(file.bytes.length, offset + bytes.length);
  const room = file.bytes.buffer as ArrayBuffer;
  // Twice the room each time: a large file comes in many pieces.
  const fits = room.byteLength >= end && file.bytes.byteOffset === 0;
  const kept = fits ? Buffer.from(room, 0, end) : Buffer.from(new ArrayBuffer(2 * end), 0, end);
  if (!fits) file.bytes.copy(kept);
  bytes.copy(kept, offset);
  file.bytes = kept;
}
