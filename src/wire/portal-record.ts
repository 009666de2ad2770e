// Records: routed messages as PORTAL02 carries them, and back. The payload crosses as it entered the first relay; groups,
// provenance and hops travel beside it and are what counts.
import { createHash } from 'node:crypto';
import {
  type Contact,
  type Envelope,
  type Hops,
  type Inbound,
  isPositionLane,
  type Lane,
  type Message,
  type Provenance,
  type Wire,
  type WireFormat,
} from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { kept } from '../lib/kept.ts';
import { isLeave, scanCot, trimCot } from './cot.ts';
import { MAX_UID_BYTES, MAX_VALUE_BYTES } from './cot-fields.ts';
import { asTak, memo } from './encode.ts';
import { forwardFederated, scanFederated, scanGroupHopLimits, scanProvenanceOf, scanRol } from './federation.ts';
import {
  arrivedWithin,
  GROUP,
  nested,
  PROVENANCE,
  StampScan,
  scanStamp,
  writeProvenance,
} from './federation-stamps.ts';
import { messageOfRol } from './package.ts';
import { type Chunk, type Collect, type CollectField, scanChunk } from './portal-pieces.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintLength, varintTag, writeVarint } from './proto.ts';
import { scanTak } from './tak.ts';
import { isXmlText } from './xml.ts';

/** Record.format */
const FORMATS: readonly (WireFormat | 'contact')[] = ['xml', 'tak', 'fed', 'rol', 'blob', 'contact'];
/** Contact.op */
const OPS = ['create', 'update', 'delete'] as const;
/** More hops than this are as good as this many. */
const MAX_HOPS = 1_000_000;
const MAX_DIGEST_BYTES = 128;
const MAX_FILE_NAME_BYTES = 1024;

/** FederatedEvent and ROL number groups and provenance one lower than Record does. */
const STAMP_SHIFT = 8;
const RECORDS = lengthTag(1);
const ID = varintTag(1);
const AGE = varintTag(9);
/** Events.first */
const FIRST = varintTag(5);
/** Fields of Events that hold a record in fewer bytes. */
const PACKED = { deflated: lengthTag(3), again: lengthTag(4) } as const;
const ASK = varintTag(6);
const CHUNK = lengthTag(7);
/** Record.is_senders */
const SENDERS = varintTag(12);

const writer = new ProtoWriter();

/** A record that was told in fewer bytes; the connection's memory is needed to read it. */
export interface Packed {
  readonly kind: keyof typeof PACKED;
  readonly bytes: Buffer;
}

/** What was packed. Throws ProtocolError. */
export type Unpack = (packed: Packed) => { readonly record: Buffer; readonly ageMs: number };

export interface PortalRecord {
  /** 0: the sender does not number. */
  readonly id: number;
  /** undefined: a format of a later version. */
  readonly format: WireFormat | 'contact' | undefined;
  /** Shares memory with the frame it came in. */
  readonly payload: Buffer;
  readonly groups: readonly string[];
  readonly provenance: readonly Provenance[];
  readonly hops: Hops;
  readonly lane: number;
  readonly ageMs: number;
  readonly contact: { readonly op: number; readonly contact: Contact } | undefined;
  readonly digest: string;
  /** The sender stands at the end of the provenance, and is not spelt out there. */
  readonly isSenders: boolean;
  /** Bytes it took. */
  readonly size: number;
}

/**
 * All of a Record but its id and age, made once for all peers that may see the same groups: the message with one hop more,
 * and this relay (`self`) as the last it passed. Throws TypeError for what has no bytes to carry.
 */
export function recordOf(envelope: Envelope, groups: readonly string[], self: Provenance): Buffer {
  const key = groups === envelope.groups ? `portal ${self.id}` : `portal ${self.id}\n${groups.join('\n')}`;
  return memo(envelope, key, () => {
    writer.reset();
    writeRecord(envelope, groups, self);
    return writer.finish();
  });
}

function writeRecord({ message, wire, provenance, hops, lane }: Envelope, groups: readonly string[], self: Provenance) {
  if (wire) {
    writer.int(2, FORMATS.indexOf(wire.format) + 1);
    writer.bytes(3, wire.bytes);
  } else if (message.kind === 'contact') {
    const { op, contact } = message;
    writer.int(2, FORMATS.indexOf('contact') + 1);
    writer.message(10, () => {
      writer.int(1, OPS.indexOf(op) + 1);
      writer.string(2, contact.uid);
      writer.string(3, contact.callsign);
    });
  } else throw new TypeError(`a ${message.kind} without bytes cannot be carried`);
  for (const group of groups) writer.string(4, group);
  for (const server of provenance) writeProvenance(writer, 5, server);
  writeProvenance(writer, 5, self);
  writeTravel(hops, lane);
}

function writeTravel(hops: Hops, lane: Lane): void {
  if (hops.max >= 0) writer.int(6, 2 * hops.max); // sint32; left out: unlimited
  writer.int(7, hops.current + 1);
  writer.int(8, lane);
}

/**
 * A position that came as XML in the fewest bytes it has by itself, as field 1 of Events: as TAK protobuf, which holds every element and every
 * attribute, and without this relay, whom the peer knows. undefined: it has no such form.
 */
export function briefField(envelope: Envelope, groups: readonly string[], ageMs: number): Buffer | undefined {
  const { message, wire, lane, provenance, hops } = envelope;
  if (message.kind !== 'event' || wire?.format !== 'xml' || !isPositionLane(lane)) return undefined;
  const tak = asTak(envelope);
  writer.reset();
  writer.int(2, FORMATS.indexOf('tak') + 1);
  writer.bytes(3, tak);
  for (const group of groups) writer.string(4, group);
  for (const server of provenance) writeProvenance(writer, 5, server);
  writeTravel(hops, lane);
  writer.int(12, 1);
  return recordField(0, ageMs, writer.finish());
}

/** A record as field 1 of Events, numbered by Events.first. What is sent at once is the same bytes for all peers. */
export function sharedField(envelope: Envelope, groups: readonly string[], self: Provenance, ageMs: number): Buffer {
  // One message goes to many peers in a row, most of them within one millisecond.
  if (last?.envelope !== envelope || last.ageMs !== ageMs || last.groups !== groups || last.self !== self) {
    const field =
      ageMs > 0 ? recordField(0, ageMs, recordOf(envelope, groups, self)) : madeField(envelope, groups, self);
    last = { envelope, groups, self, ageMs, field };
  }
  return last.field;
}

let last:
  | {
      readonly envelope: Envelope;
      readonly groups: readonly string[];
      readonly self: Provenance;
      readonly ageMs: number;
      readonly field: Buffer;
    }
  | undefined;

function madeField(envelope: Envelope, groups: readonly string[], self: Provenance): Buffer {
  const key = groups === envelope.groups ? `events ${self.id}` : `events ${self.id}\n${groups.join('\n')}`;
  return memo(envelope, key, () => {
    writer.reset();
    writer.message(1, () => writeRecord(envelope, groups, self));
    return writer.finish();
  });
}

/** A record as field 1 of Events. */
export function recordField(id: number, ageMs: number, record: Buffer): Buffer {
  const size = fieldSize(id) + fieldSize(ageMs) + record.length;
  const bytes = Buffer.allocUnsafe(1 + varintLength(size) + size);
  let at = writeVarint(bytes, 0, RECORDS);
  at = writeVarint(bytes, at, size);
  if (id > 0) at = writeVarint(bytes, writeVarint(bytes, at, ID), id);
  if (ageMs > 0) at = writeVarint(bytes, writeVarint(bytes, at, AGE), ageMs);
  record.copy(bytes, at);
  return bytes;
}

/** A record taken apart around its payload: what recordOf() makes. undefined: it has none, or another order. */
export function splitRecord(record: Buffer): RecordParts | undefined {
  const reader = new ProtoReader(record);
  if (reader.tag() !== varintTag(2)) return undefined;
  const format = FORMATS[reader.varint() - 1];
  if (!format || !reader.more() || reader.tag() !== lengthTag(3)) return undefined;
  const payload = reader.bytes();
  return { format, payload, rest: record.subarray(reader.pos) };
}

/** The record again. */
export function joinRecord({ format, payload, rest }: RecordParts): Buffer {
  writer.int(2, FORMATS.indexOf(format) + 1);
  writer.bytes(3, payload);
  writer.raw(rest);
  return writer.finish();
}

export interface RecordParts {
  readonly format: WireFormat | 'contact';
  readonly payload: Buffer;
  /** All other fields. */
  readonly rest: Buffer;
}

/** A packed record as a field of Events. */
export function packedField(kind: Packed['kind'], bytes: Buffer): Buffer {
  const field = Buffer.allocUnsafe(1 + varintLength(bytes.length) + bytes.length);
  const at = writeVarint(field, writeVarint(field, 0, PACKED[kind]), bytes.length);
  bytes.copy(field, at);
  return field;
}

function fieldSize(n: number): number {
  return n > 0 ? 1 + varintLength(n) : 0;
}

/** Events.acked, to stand beside the records; nothing for 0. */
export function ackedField(acked: number): Buffer {
  writer.int(2, acked);
  return writer.finish();
}

/** Events.acked and Events.first, to stand before the records; nothing for 0. */
export function leadingFields(acked: number, first: number): Buffer {
  writer.int(2, acked);
  writer.int(5, first);
  return writer.finish();
}

/** Events.ask: the sender waits for an acknowledgement. */
export const ASK_FIELD: Buffer = Buffer.from([ASK, 1]);

/** What reading needs that the connection has: what passed before. Without it packed records and pieces are a breach. */
export interface Reading {
  readonly unpack: Unpack;
  readonly collect: Collect;
  readonly collectField: CollectField;
  /** A piece came that was not the last. */
  onPiece(id: number, size: number): void;
}

/** What Events says beside records. */
export interface Said {
  readonly acked: number;
  /** The sender waits for an acknowledgement. */
  readonly asks: boolean;
}

/** Reads Events; each record is handed on as it is met. */
export function scanEvents(bytes: Buffer, onRecord: (record: PortalRecord) => void, how: Reading = PLAIN): Said {
  const reader = new ProtoReader(bytes);
  let acked = 0;
  let asks = false;
  let next = 0;
  const numbered = () => (next > 0 ? next++ : 0);
  while (reader.more()) {
    const start = reader.pos;
    const tag = reader.tag();
    if (tag === RECORDS) {
      const record = scanRecord(reader, start);
      onRecord(next > 0 && record.id === 0 ? { ...record, id: next++ } : record);
    } else if (tag === PACKED.deflated || tag === PACKED.again) {
      const record = scanPacked(reader, tag, how.unpack);
      onRecord({ ...record, id: numbered(), size: reader.pos - start });
    } else if (tag === CHUNK) {
      const record = pieced(scanChunk(reader), how);
      const size = reader.pos - start;
      if (record) onRecord({ ...record, id: numbered(), size });
      else how.onPiece(numbered(), size);
    } else if (tag === FIRST) next = reader.varint();
    else if (tag === varintTag(2)) acked = reader.varint();
    else if (tag === ASK) asks = reader.varint() !== 0;
    else reader.skip(tag);
  }
  return { acked, asks };
}

function scanPacked(reader: ProtoReader, tag: number, unpack: Unpack): Omit<PortalRecord, 'size'> {
  const kind = tag === PACKED.again ? 'again' : 'deflated';
  const { record, ageMs } = unpack({ kind, bytes: reader.bytes() });
  return { ...scanFields(new ProtoReader(record)), ageMs };
}

/** The record of which this was the last piece. */
function pieced(chunk: Chunk, how: Reading): Omit<PortalRecord, 'size'> | undefined {
  if (!chunk.isEvent) {
    const whole = how.collect(chunk);
    return whole && scanFields(new ProtoReader(whole));
  }
  const whole = how.collectField(chunk);
  if (!whole) return undefined;
  const reader = new ProtoReader(whole.field);
  const tag = reader.tag();
  if (tag === PACKED.deflated) return scanPacked(reader, tag, whole.unpack);
  // A position told by its differences is small: whoever cuts it means something else.
  if (tag !== RECORDS) throw new ProtocolError('chunk_field', 'pieces of what is no record');
  return scanRecord(reader, 0);
}

function unasked(): never {
  throw new ProtocolError('packed_unasked', 'a packed record, or a piece of one, that was not asked for');
}

const PLAIN: Reading = { unpack: unasked, collect: unasked, collectField: unasked, onPiece: unasked };

function scanRecord(reader: ProtoReader, start: number): PortalRecord {
  const outer = reader.enter();
  const record = scanFields(reader);
  const size = reader.pos - start;
  reader.leave(outer);
  return { ...record, size };
}

function scanFields(reader: ProtoReader): Omit<PortalRecord, 'size'> {
  const stamps = new StampScan();
  const found = { id: 0, format: 0, payload: EMPTY, hops: 0, lane: 0, ageMs: 0, digest: '', isSenders: false };
  let maxHops = 0;
  let contact: PortalRecord['contact'];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ID) found.id = reader.varint();
    else if (tag === varintTag(2)) found.format = reader.varint();
    else if (tag === lengthTag(3)) found.payload = reader.bytes();
    else if (tag === GROUP + STAMP_SHIFT || tag === PROVENANCE + STAMP_SHIFT) {
      scanStamp(reader, tag - STAMP_SHIFT, stamps);
    } else if (tag === varintTag(6)) maxHops = reader.varint();
    else if (tag === varintTag(7)) found.hops = reader.varint();
    else if (tag === varintTag(8)) found.lane = reader.varint();
    else if (tag === AGE) found.ageMs = reader.varint();
    else if (tag === lengthTag(10)) nested(reader, () => (contact = scanContact(reader)));
    else if (tag === lengthTag(11)) found.digest = reader.string(MAX_DIGEST_BYTES);
    else if (tag === SENDERS) found.isSenders = reader.varint() !== 0;
    else reader.skip(tag);
  }
  return {
    ...found,
    format: FORMATS[found.format - 1],
    groups: stamps.groups ?? [],
    provenance: stamps.provenance ?? [],
    hops: { max: hopLimit(maxHops), current: Math.min(found.hops, MAX_HOPS) },
    contact,
  };
}

const EMPTY: Buffer = Buffer.alloc(0);

/** sint32: odd numbers are the negative ones. 0, which protobuf leaves out, and anything negative: unlimited. */
function hopLimit(zigzag: number): number {
  return zigzag === 0 || zigzag % 2 === 1 ? -1 : Math.min(zigzag / 2, MAX_HOPS);
}

function scanContact(reader: ProtoReader): PortalRecord['contact'] {
  const found = { op: 0, uid: '', callsign: '' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) found.op = reader.varint();
    else if (tag === lengthTag(2)) found.uid = reader.string(MAX_UID_BYTES);
    else if (tag === lengthTag(3)) found.callsign = reader.string(MAX_VALUE_BYTES);
    else reader.skip(tag);
  }
  return { op: found.op, contact: { uid: found.uid, callsign: found.callsign } };
}

/**
 * What a record says, for the hub; usually one message, two when a FederatedEvent holds an event and a contact, none when it
 * says nothing to act upon. `hop_limit`: every group of it has travelled as far as it may. Throws ProtocolError when it
 * cannot be read.
 */
export function inboundOf(record: PortalRecord): readonly Inbound[] | 'hop_limit' {
  switch (record.format) {
    case 'xml':
      return eventIn(record, { format: 'xml', bytes: kept(trimCot(record.payload)) });
    case 'tak':
      return eventIn(record, { format: 'tak', bytes: kept(record.payload) });
    case 'fed':
      return federatedIn(record);
    case 'rol':
      return missionIn(record);
    case 'blob':
      return [inbound(record, { kind: 'blob', summary: blobSummary(record.payload) }, 'blob', record.payload)];
    case 'contact':
      return [{ ...stampsOf(record), message: contactMessage(record), size: record.size }];
    default:
      throw new ProtocolError('portal_format', 'a record in a format that is not known here');
  }
}

type Stamps = Pick<Inbound, 'groups' | 'provenance' | 'hops' | 'waitedMs'>;

function stampsOf({ groups, provenance, hops, ageMs }: PortalRecord): Stamps {
  return { groups, provenance, hops, waitedMs: ageMs };
}

function eventIn(record: PortalRecord, wire: Wire): readonly Inbound[] {
  const event = wire.format === 'tak' ? scanTak(wire.bytes) : scanCot(wire.bytes);
  const stamps = stampsOf(record);
  if (!isLeave(event, wire.bytes)) return [{ ...stamps, message: { kind: 'event', event }, wire, size: record.size }];
  // As from a client: who left is taken off the roster by the way he came, and by no other.
  if (event.linkUid === '') throw new ProtocolError('missing_uid', 'a disconnect that names nobody');
  const contact = { uid: event.linkUid, callsign: event.callsign };
  return [{ ...stamps, message: { kind: 'contact', op: 'delete', contact }, size: record.size }];
}

function federatedIn(record: PortalRecord): readonly Inbound[] | 'hop_limit' {
  const bytes = restamped(record, scanProvenanceOf(record.payload));
  const scan = scanFederated(bytes);
  const stamps = withinLimits(record, bytes, scan.hasGroupHopLimits);
  if (!stamps) return 'hop_limit';
  const found: Inbound[] = [];
  const add = (message: Message, part: Buffer) =>
    // A record that says both is counted once.
    found.push({ ...stamps, message, wire: { format: 'fed', bytes: part }, size: found.length > 0 ? 0 : record.size });
  if (scan.contact) add({ kind: 'contact', op: scan.contact.op, contact: scan.contact.contact }, scan.contact.bytes);
  if (scan.event) add({ kind: 'event', event: scan.event }, scan.eventBytes);
  return found;
}

function missionIn(record: PortalRecord): readonly Inbound[] | 'hop_limit' {
  const { provenance = [], summary, hasGroupHopLimits } = scanRol(record.payload);
  const bytes = restamped(record, provenance);
  const stamps = withinLimits(record, bytes, hasGroupHopLimits);
  return stamps ? [{ ...inbound(record, messageOfRol(bytes, summary), 'rol', bytes), ...stamps }] : 'hop_limit';
}

function inbound(record: PortalRecord, message: Message, format: WireFormat, bytes: Buffer): Inbound {
  const digest = record.digest || contentDigest(format, bytes);
  return { ...stampsOf(record), message, wire: { format, bytes: kept(bytes) }, size: record.size, digest };
}

/**
 * Federation bytes go on to federates with fields appended, so they must say where the message has been since they were
 * made: as if the relays between had spoken federation too. In memory of their own.
 */
function restamped({ payload, provenance, groups, hops }: PortalRecord, known: readonly Provenance[]): Buffer {
  const earlier = provenance.filter(({ id }) => !known.some((server) => server.id === id));
  const self = earlier.pop();
  return self ? forwardFederated(payload, { groups, self, hops, earlier }) : kept(payload);
}

/** undefined: it has made too many hops in every group it is in. */
function withinLimits(record: PortalRecord, bytes: Buffer, hasLimits: boolean): Stamps | undefined {
  const stamps = stampsOf(record);
  if (!hasLimits) return stamps;
  const limits = scanGroupHopLimits(bytes) ?? [];
  // Groups whose hops were used up before are left out of what was counted up.
  const said = new Set(scanGroupHopLimits(record.payload)?.map(({ group }) => group));
  const groups = record.groups.filter((group) => !said.has(group) || limits.some((limit) => limit.group === group));
  const arrived = arrivedWithin(groups, limits, record.hops.current);
  return arrived && { ...stamps, ...arrived };
}

function contactMessage({ contact: found }: PortalRecord): Message {
  const op = OPS[(found?.op ?? 0) - 1];
  if (!found || !op) throw new ProtocolError('portal_contact', 'a contact notice without contact or operation');
  const { uid, callsign } = found.contact;
  if (uid === '' && callsign === '') throw new ProtocolError('missing_uid', 'a contact without a name');
  if (!isXmlText(uid + callsign)) throw new ProtocolError('bad_text', 'a character that XML does not allow');
  return { kind: 'contact', op, contact: found.contact };
}

/** fig.proto BinaryBlob, as far as a person wants to know of it. */
function blobSummary(bytes: Buffer): string {
  const reader = new ProtoReader(bytes);
  let name = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(3)) name = reader.string(MAX_FILE_NAME_BYTES);
    else reader.skip(tag);
  }
  return name === '' ? 'file' : `file ${name}`;
}

/** Of what says the same by whatever path it comes: a mission's program and attachments (ROL fields 1 and 2), a whole file. */
export function contentDigest(format: WireFormat, bytes: Buffer): string {
  const hash = createHash('sha256').update(format);
  if (format !== 'rol') return hash.update(bytes).digest('base64url');
  const reader = new ProtoReader(bytes);
  while (reader.more()) {
    const start = reader.pos;
    const tag = reader.tag();
    reader.skip(tag);
    if (tag === lengthTag(1) || tag === lengthTag(2)) hash.update(bytes.subarray(start, reader.pos));
  }
  return hash.digest('base64url');
}
