// A FederatedEvent by the first schema, as FreeTAKServer reads and writes it: header, destinations by callsign, and the whole
// detail as XML, for it reads no other field. And all times of a FederatedEvent moved, for peers whose clock is told wrong.
import type { Contact, CotEvent } from '../core/message.ts';
import { trimCot } from './cot.ts';
import { outlineEvent } from './cot-outline.ts';
import { type ContactOp, contactFederated } from './federation.ts';
import { destEdits, edited, federatedFromXml, writeHeader } from './federation-xml.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintTag } from './proto.ts';

const EVENT = lengthTag(1);
/** sendTime, startTime, staleTime: the fields of a GeoEvent that are moved. */
const TIMES: readonly number[] = [varintTag(1), varintTag(2), varintTag(3)];
/** Attributes of <dest> that have a field in this schema. */
const DEST_FIELDS = ['uid', 'callsign'] as const;
const EMPTY_DETAIL = Buffer.from('<detail/>');

const writer = new ProtoWriter();

/**
 * Writes a FederatedEvent from an event that scanCot() accepted. The header is that of `event`, whose times and destinations
 * may differ from the XML's. `contact`: announced in the same message.
 */
export function plainFederated(xml: Buffer, event: CotEvent, contact?: Contact): Buffer {
  if (event.type === 't-x-d-d') return federatedFromXml(xml, event);
  const source = trimCot(xml);
  const { detail, children } = outlineEvent(source, ['marti']);
  const edits = children.flatMap((marti) => destEdits(source, marti, DEST_FIELDS)).sort((a, b) => a.start - b.start);
  writer.reset();
  writer.message(1, () => {
    writeHeader(writer, event);
    writer.bytes(12, detail ? edited(source, detail.start, detail.end, edits) : EMPTY_DETAIL);
    for (const uid of event.destUids) writer.string(23, uid);
    for (const callsign of event.destCallsigns) writer.string(24, callsign);
  });
  if (contact) writer.raw(contactFederated('create', contact));
  return writer.finish();
}

/** A contact by the first schema, which knows no update. */
export function plainContact(op: ContactOp, contact: Contact): Buffer {
  return contactFederated(op === 'delete' ? 'delete' : 'create', contact);
}

/** The same FederatedEvent with its times moved by `byMs`; all else keeps its bytes. It must be one that scanFederated() accepted. */
export function shiftFederated(bytes: Buffer, byMs: number): Buffer {
  writer.reset();
  const reader = new ProtoReader(bytes);
  while (reader.more()) {
    const start = reader.pos;
    const tag = reader.tag();
    if (tag === EVENT) writer.message(1, () => shiftTimes(reader, byMs));
    else {
      reader.skip(tag);
      writer.raw(bytes, start, reader.pos);
    }
  }
  return writer.finish();
}

function shiftTimes(reader: ProtoReader, byMs: number): void {
  const outer = reader.enter();
  while (reader.more()) {
    const start = reader.pos;
    const tag = reader.tag();
    if (TIMES.includes(tag)) writer.int(tag >> 3, moved(reader.int64(), byMs));
    else {
      reader.skip(tag);
      writer.raw(reader.buffer, start, reader.pos);
    }
  }
  reader.leave(outer);
}

/** A field may be there twice, with the last one counting: the first may hold anything. */
function moved(ms: number, byMs: number): number {
  return Number.isSafeInteger(ms + byMs) ? ms + byMs : ms;
}
