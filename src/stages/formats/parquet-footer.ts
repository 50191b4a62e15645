/**
 * The end of a Parquet file, which says where everything lies: a list of row groups that grows with the file.
 *
 * The library would keep each group as objects until the end. Here the bytes it makes of a group are kept alone, some hundred a
 * column, and no more of them than `footerMost`.
 * Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md (List, Struct)
 */
import type { FileMetaData, RowGroup, SchemaElement } from "hyparquet";
import { ByteWriter } from "hyparquet-writer";
import { writeMetadata } from "hyparquet-writer/src/metadata.js";
import { PipelineError } from "../../errors.ts";
import { footerMost } from "./format.ts";

const blockBytes = 64 * 1024;
const lengthBytes = 4;
/** A list of structs; its upper half is the length, or 15 where that follows. */
const structs = 0x0c;

export interface Footer {
  /** @throws PipelineError `config-invalid` when the footer grows beyond `footerMost` */
  add(group: RowGroup): void;
  /** The whole footer, its length and the magic number at the end of the file, piece by piece. */
  pieces(rows: bigint): Generator<Uint8Array>;
}

export function createFooter(schema: SchemaElement[]): Footer {
  const blocks: Uint8Array[] = [];
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let groups = 0;
  let bytes = 0;

  const settle = () => {
    if (waitingBytes > 0) blocks.push(Uint8Array.from(Buffer.concat(waiting)));
    [waiting, waitingBytes] = [[], 0];
  };
  return {
    add(group) {
      const { before, groupBytes } = describe(schema, 0n, group);
      if (before.length + bytes + groupBytes.length > footerMost) throw tooMany(groups);
      waiting.push(groupBytes);
      waitingBytes += groupBytes.length;
      bytes += groupBytes.length;
      groups += 1;
      if (waitingBytes >= blockBytes) settle();
    },
    *pieces(rows) {
      settle();
      const { before, after } = describe(schema, rows, noGroup);
      const start = Buffer.concat([before, listHeader(groups)]);
      const end = Buffer.alloc(lengthBytes);
      end.writeUInt32LE(start.length + bytes + after.length);
      yield start;
      yield* blocks;
      yield Buffer.concat([after, end, Buffer.from("PAR1")]);
    },
  };
}

const noGroup: RowGroup = { columns: [], total_byte_size: 0n, num_rows: 0n };

/** What the library writes of a file with this one group, cut around it. */
function describe(schema: SchemaElement[], rows: bigint, group: RowGroup) {
  const [without, withGroup] = [write(schema, rows, []), write(schema, rows, [group])];
  // The header of the list is the first byte that differs.
  const at = without.findIndex((byte, index) => byte !== withGroup[index]);
  const length = withGroup.length - without.length;
  return {
    before: without.subarray(0, at),
    groupBytes: withGroup.slice(at + 1, at + 1 + length),
    after: without.subarray(at + 1),
  };
}

function write(schema: SchemaElement[], rows: bigint, row_groups: RowGroup[]): Uint8Array {
  const writer = new ByteWriter();
  const metadata = { version: 2, created_by: "spillway", schema, num_rows: rows, row_groups };
  writeMetadata(writer, metadata as Omit<FileMetaData, "metadata_length"> as FileMetaData);
  return writer.getBytes().subarray(0, -lengthBytes);
}

function listHeader(length: number): Uint8Array {
  if (length < 15) return Uint8Array.of((length << 4) | structs);
  const writer = new ByteWriter();
  writer.appendUint8(0xf0 | structs);
  writer.appendVarInt(length);
  return writer.getBytes();
}

const tooMany = (groups: number): PipelineError =>
  new PipelineError(
    "config-invalid",
    `serialize: after ${groups} row groups the Parquet file's footer is larger than ${footerMost} bytes; expected fewer of them: raise \`rowGroup\` (and \`memory\`), or export ranges of the rows`,
  );
