/**
 * The entries of a tar archive, plain or gzip, as they come: the only file that knows tar-stream.
 *
 * Strict where the tools are lenient: gzip must end with its archive, and the archive with its end marker, so that
 * nothing cut off or appended goes unnoticed.
 */
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { Header } from "tar-stream";
import { PipelineError } from "../../errors.ts";
import { badData } from "./input-file.ts";

const blockBytes = 512;
/** An archive ends with two blocks of zeros. */
const endMarkerBytes = 2 * blockBytes;

export interface Entry {
  /** Where it is, for messages; its name may be somebody's data. */
  readonly where: string;
  readonly header: Header;
  /** Its content, once. What is not read is skipped when the next entry is asked for. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

type Bytes = AsyncIterable<Uint8Array>;

/** What tar-stream gives for an entry: a streamx stream, of which this much is used. */
interface EntryStream extends Bytes {
  readonly header: Header;
  readonly offset: number;
  resume(): unknown;
}

/**
 * Entries in archive order (POSIX.1-2001 pax, ustar and GNU tar).
 * @throws PipelineError `source-bad-data`: no tar archive, damaged, cut off, or of a kind that cannot be read whole.
 */
export async function* readEntries(bytes: Bytes, where: string): AsyncGenerator<Entry> {
  // Bundled, it has its names in `default` alone.
  const { default: tar } = await import("tar-stream");
  const archive = tar.extract();
  const tail = { bytes: 0, zeros: 0 };
  const fed = pump(watchTail(unzip(bytes, where), tail), archive as unknown as Writable);
  let count = 0;
  let end = 0;
  try {
    for await (const stream of archive as AsyncIterable<EntryStream>) {
      count += 1;
      const entry = describe(stream, `${where}, entry ${count}`);
      end = stream.offset + blockBytes + roundToBlock(entry.header.size);
      yield entry;
      stream.resume();
    }
    const failure = await fed;
    if (failure !== undefined) throw failure;
  } catch (error) {
    throw explain(error, `${where}, after entry ${count}`);
  } finally {
    archive.destroy();
    await fed;
  }
  // Where an entry is empty or all zeros, its own end looks like the marker: both must hold.
  if (tail.zeros < endMarkerBytes || tail.bytes - end < endMarkerBytes) {
    throw badData(
      `${where}, after entry ${count}`,
      "cut off; expected the end marker of an archive",
    );
  }
}

function describe(stream: EntryStream, where: string): Entry {
  const { header } = stream;
  const sparse = Object.keys(header.pax ?? {}).some((key) => key.startsWith("GNU.sparse"));
  if (header.type === null || sparse) {
    throw badData(where, "a sparse file or of an unknown type; expected plain files");
  }
  // tar-stream would wait for the end of such an entry for ever.
  if (!Number.isSafeInteger(header.size)) {
    throw badData(where, "a size that is no number; the archive is damaged");
  }
  // What a folder states is room it asks for; nothing follows it (POSIX, `pax`, ustar interchange format).
  if (header.type === "directory") header.size = 0;
  return { where, header, bytes: readContent(stream, where) };
}

async function* readContent(stream: EntryStream, where: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    throw explain(error, where);
  }
}

/** Moves `bytes` into `sink`; resolves with what went wrong, undefined when nothing did. */
function pump(bytes: Bytes, sink: Writable): Promise<unknown> {
  return pipeline(bytes, sink).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Counts the bytes of an archive, and the zeros at its end. */
async function* watchTail(bytes: Bytes, tail: { bytes: number; zeros: number }) {
  for await (const chunk of bytes) {
    let zeros = 0;
    const most = Math.min(chunk.length, endMarkerBytes);
    while (zeros < most && chunk[chunk.length - 1 - zeros] === 0) zeros += 1;
    tail.zeros = zeros === chunk.length ? tail.zeros + zeros : zeros;
    tail.bytes += chunk.length;
    yield chunk;
  }
}

/** Inflates gzip (by its magic bytes), passes anything else through. */
async function* unzip(bytes: Bytes, where: string): AsyncGenerator<Uint8Array> {
  const source = bytes[Symbol.asyncIterator]();
  try {
    const head = await readHead(source);
    const all = rejoin(head, source);
    yield* head[0] === 0x1f && head[1] === 0x8b ? inflate(all, where) : all;
  } finally {
    await source.return?.();
  }
}

async function readHead(source: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < 2) {
    const next = await source.next();
    if (next.done) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  return head;
}

async function* rejoin(head: Uint8Array, rest: AsyncIterator<Uint8Array>) {
  if (head.length > 0) yield head;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function* inflate(bytes: Bytes, where: string): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip();
  const fed = { bytes: 0, zeros: 0 };
  const done = pump(watchTail(bytes, fed), gunzip);
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array;
  } finally {
    gunzip.destroy();
    await done;
  }
  // zlib ignores zeros after the last member; strict means that nothing is ignored.
  if (gunzip.bytesWritten !== fed.bytes) throw badData(where, "has more after the end of its gzip");
}

function roundToBlock(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

/** Errors of this project travel as they are; those of zlib and tar-stream become one sentence. */
function explain(error: unknown, where: string): unknown {
  if (error instanceof PipelineError) return error;
  const isGzip = (error as { code?: string }).code?.startsWith("Z_");
  const what = isGzip ? "its gzip is damaged or cut off" : "no tar archive, damaged or cut off";
  return badData(where, what);
}
