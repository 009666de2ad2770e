// Pieces of records too large for a thin line, as fields of Events.
import type { Unpack } from './portal-record.ts';
import { lengthTag, type ProtoReader, ProtoWriter, varintTag } from './proto.ts';

const writer = new ProtoWriter();
const NOTHING: Buffer = Buffer.alloc(0);

/** A piece of a record too large for a thin line. `total`: of all pieces, in the first one; 0 in the others. */
export interface Chunk {
  readonly total: number;
  readonly data: Buffer;
  /** Of an event that waits for nothing: a field of Events in pieces, not a Record. */
  readonly isEvent: boolean;
}

/** Takes the pieces; returns the whole record with the last one. Throws ProtocolError. */
export type Collect = (chunk: Chunk) => Buffer | undefined;

/** The same of pieces of a field, and how it is read: as if all of it had come with the first piece. */
export type CollectField = (chunk: Chunk) => { readonly field: Buffer; readonly unpack: Unpack } | undefined;

/** A piece as a field of Events. */
export function chunkField({ total, data, isEvent }: Chunk): Buffer {
  writer.message(7, () => {
    writer.int(1, total);
    writer.bytes(2, data);
    writer.int(3, isEvent ? 1 : 0);
  });
  return writer.finish();
}

/** Reads one: the tag is behind the reader. */
export function scanChunk(reader: ProtoReader): Chunk {
  const outer = reader.enter();
  let total = 0;
  let data = NOTHING;
  let isEvent = false;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) total = reader.varint();
    else if (tag === lengthTag(2)) data = reader.bytes();
    else if (tag === varintTag(3)) isEvent = reader.varint() !== 0;
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { total, data, isEvent };
}
