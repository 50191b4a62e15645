/**
 * Packets of SFTP as a server sees them: draft-ietf-secsh-filexfer-02 (version 3), which all speak, with OpenSSH's
 * extensions for hard links and syncing.
 */

const verbs = {
  1: "init",
  3: "open",
  4: "close",
  5: "read",
  6: "write",
  7: "lstat",
  8: "fstat",
  11: "opendir",
  12: "readdir",
  13: "remove",
  14: "mkdir",
  18: "rename",
} as const;

const extensions = { "hardlink@openssh.com": "link", "fsync@openssh.com": "fsync" } as const;

type Extension = keyof typeof extensions;
export const allExtensions = Object.keys(extensions) as Extension[];

export type Verb = (typeof verbs)[keyof typeof verbs] | (typeof extensions)[Extension] | "unknown";

export const status = { ok: 0, end: 1, noFile: 2, denied: 3, failure: 4, unsupported: 8 } as const;

/** What is asked; fields that the verb lacks are empty. */
export interface Asked {
  readonly verb: Verb;
  readonly id: number;
  /** Of a file or folder; what a handle stands for where one is sent. */
  readonly path: string;
  readonly handle: string;
  readonly to: string;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Buffer;
}

export const unasked: Asked = {
  verb: "unknown",
  id: 0,
  path: "",
  handle: "",
  to: "",
  flags: 0,
  offset: 0,
  length: 0,
  bytes: Buffer.alloc(0),
};

/** Cuts whole packets off what has come. @returns them, without their lengths, and the rest */
export function packetsOf(bytes: Buffer): { packets: Buffer[]; rest: Buffer } {
  const packets: Buffer[] = [];
  let rest = bytes;
  while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
    const end = 4 + rest.readUInt32BE(0);
    packets.push(rest.subarray(4, end));
    rest = rest.subarray(end);
  }
  return { packets, rest };
}

export function readPacket(packet: Buffer): Asked {
  let at = 1;
  const number = () => packet.readUInt32BE((at += 4) - 4);
  const large = () => Number(packet.readBigUInt64BE((at += 8) - 8));
  const take = () => {
    const length = number();
    at += length;
    return packet.subarray(at - length, at);
  };
  const text = () => take().toString();
  const type = packet[0]!;
  const verb: Verb = verbs[type as keyof typeof verbs] ?? "unknown";
  const asked: Asked = { ...unasked, verb, id: number() };
  if (type === 200) {
    const name = text();
    const extension = extensions[name as Extension];
    if (extension === "link") return { ...asked, verb: extension, path: text(), to: text() };
    if (extension === "fsync") return { ...asked, verb: extension, handle: text() };
    return asked;
  }
  if (type === 1 || asked.verb === "unknown") return asked;
  if (["close", "read", "write", "fstat", "readdir"].includes(verb)) {
    const handle = text();
    if (verb === "read") return { ...asked, handle, offset: large(), length: number() };
    if (verb === "write") return { ...asked, handle, offset: large(), bytes: Buffer.from(take()) };
    return { ...asked, handle };
  }
  const path = text();
  if (verb === "rename") return { ...asked, path, to: text() };
  return verb === "open" ? { ...asked, path, flags: number() } : { ...asked, path };
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

const string = (value: string | Buffer) => {
  const bytes = Buffer.from(value);
  return Buffer.concat([u32(bytes.length), bytes]);
};

const packet = (type: number, ...parts: Buffer[]) =>
  string(Buffer.concat([Buffer.from([type]), ...parts]));

/** What is told of a file or folder; without a size nothing but what it is. */
export interface Told {
  readonly isFolder: boolean;
  readonly size?: number;
  readonly changed: number;
}

function attributes({ isFolder, size, changed }: Told): Buffer {
  const mode = u32(isFolder ? 0o040_700 : 0o100_600);
  const times = [u32(changed), u32(changed)];
  if (size === undefined) return Buffer.concat([u32(4 | 8), mode, ...times]);
  const large = Buffer.alloc(8);
  large.writeBigUInt64BE(BigInt(size));
  return Buffer.concat([u32(1 | 4 | 8), large, mode, ...times]);
}

export interface Entry extends Told {
  readonly name: string;
}

export const answers = {
  version: (spoken: readonly Extension[]) =>
    packet(2, u32(3), ...spoken.flatMap((name) => [string(name), string("1")])),
  status: (id: number, code: number) =>
    packet(101, u32(id), u32(code), string("said by a script"), string("")),
  handle: (id: number, handle: string) => packet(102, u32(id), string(handle)),
  data: (id: number, bytes: Buffer) => packet(103, u32(id), string(bytes)),
  /** @param count how many it says there are */
  names: (id: number, entries: readonly Entry[], count = entries.length) =>
    packet(
      104,
      u32(id),
      u32(count),
      ...entries.flatMap((entry) => [string(entry.name), string(entry.name), attributes(entry)]),
    ),
  attributes: (id: number, told: Told) => packet(105, u32(id), attributes(told)),
};
