// What travels between federates (fig.proto FederatedEvent and ROL): read as far as policy needs, relayed without
// re-encoding. Pure functions on buffers. What an event means as XML is federation-xml.ts; groups, provenance and hops are
// federation-stamps.ts; how a link introduces itself is federation-link.ts.
import { type Contact, type CotEvent, type Hops, NO_DETAIL, type Provenance } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { scanDetail } from './cot.ts';
import {
  checkPoint,
  type DetailFields,
  MAX_DESTINATIONS,
  MAX_TIME_MS,
  MAX_TYPE_BYTES,
  MAX_UID_BYTES,
  MAX_VALUE_BYTES,
  makeEvent,
  UNKNOWN_METRES,
} from './cot-fields.ts';
import {
  GROUP,
  GROUP_LIMITS,
  type GroupHopLimit,
  HOPS,
  nested,
  PROVENANCE,
  type Stamp,
  StampScan,
  scanStamp,
  writeStamp,
} from './federation-stamps.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintTag } from './proto.ts';
import { isXmlText } from './xml.ts';

/** Bytes of a ROL program read for its summary. */
const MAX_SUMMARY_BYTES = 64;

/** fig.proto CRUD */
const CRUD = { create: 1, update: 3, delete: 4 } as const;
export type ContactOp = keyof typeof CRUD;
const OPS = ['create', 'update', 'delete'] as const;

const EVENT = lengthTag(1);
const CONTACT = lengthTag(2);

const writer = new ProtoWriter();

// Links find all of federation in one place.
export {
  CONNECTION_TYPE,
  clientHealth,
  groupsMessage,
  SERVING,
  scanGroups,
  scanHealth,
  scanSubscription,
  serverHealth,
  subscription,
} from './federation-link.ts';
export { groupsWithinLimits } from './federation-stamps.ts';

export interface FederatedContact {
  readonly op: ContactOp;
  readonly contact: Contact;
  /** A FederatedEvent with the contact and without the event: the input itself when it held no event. */
  readonly bytes: Buffer;
}

export interface FederatedScan {
  readonly event: CotEvent | undefined;
  /** A FederatedEvent with the event and without the contact: the input itself when it held no contact. */
  readonly eventBytes: Buffer;
  readonly contact: FederatedContact | undefined;
  /** undefined: the message carries none. */
  readonly groups: readonly string[] | undefined;
  readonly provenance: readonly Provenance[] | undefined;
  readonly hops: Hops | undefined;
  /** The message asks for limits per group (scanGroupHopLimits) in place of its hops. */
  readonly hasGroupHopLimits: boolean;
  /** Neither an event nor a contact to act upon: hubs send such messages to show their groups. */
  readonly empty: boolean;
}

/** Reads the parts of a FederatedEvent that routing and policy need. Strings and lengths of the rest are checked as well. */
export function scanFederated(bytes: Buffer): FederatedScan {
  const reader = new ProtoReader(bytes);
  const stamps = new StampScan();
  let geo: GeoScan | undefined;
  let entry: ContactScan | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === EVENT) {
      geo ??= new GeoScan();
      scanGeo(reader, geo);
    } else if (tag === CONTACT) {
      entry ??= new ContactScan();
      scanContact(reader, entry);
    } else if (!scanStamp(reader, tag, stamps)) reader.skip(tag);
  }
  const event = geo && toEvent(geo, bytes);
  const contact = entry && toContact(entry, geo ? without(bytes, EVENT) : bytes);
  return {
    event,
    eventBytes: entry ? without(bytes, CONTACT) : bytes,
    contact,
    groups: stamps.groups,
    provenance: stamps.provenance,
    hops: stamps.hops,
    hasGroupHopLimits: stamps.useLimits,
    empty: !event && !contact,
  };
}

/** The servers a FederatedEvent has passed, and nothing else of it. */
export function scanProvenanceOf(bytes: Buffer): readonly Provenance[] {
  const reader = new ProtoReader(bytes);
  const stamps = new StampScan();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === PROVENANCE) scanStamp(reader, tag, stamps);
    else reader.skip(tag);
  }
  return stamps.provenance ?? [];
}

/** The limits per group of a FederatedEvent or ROL that asks for them; undefined when it does not. */
export function scanGroupHopLimits(bytes: Buffer): readonly GroupHopLimit[] | undefined {
  const reader = new ProtoReader(bytes);
  const stamps = new StampScan();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === GROUP_LIMITS) scanStamp(reader, tag, stamps);
    else reader.skip(tag);
  }
  return stamps.useLimits ? (stamps.limits ?? []) : undefined;
}

/**
 * Hands on a FederatedEvent or a ROL: groups and hops are replaced, provenance is appended, all else keeps its bytes, fields
 * of later schemas included. Limits per group are counted up when the message uses them; exhausted groups are left out.
 */
export function forwardFederated(bytes: Buffer, stamp: Stamp): Buffer {
  writer.reset();
  const reader = new ProtoReader(bytes);
  const limits = new StampScan();
  let keptFrom = 0;
  while (reader.more()) {
    const start = reader.pos;
    const tag = reader.tag();
    if (tag === GROUP_LIMITS) scanStamp(reader, tag, limits);
    else reader.skip(tag);
    // Hops are cut out rather than overruled by an appended message: a zero cannot overrule when messages are merged.
    if (tag !== GROUP && tag !== HOPS && tag !== GROUP_LIMITS) continue;
    writer.raw(bytes, keptFrom, start);
    keptFrom = reader.pos;
  }
  writer.raw(bytes, keptFrom, bytes.length);
  writeStamp(writer, stamp, limits);
  return writer.finish();
}

/** A contact that came, changed or went, without groups or provenance yet (forwardFederated adds them). */
export function contactFederated(op: ContactOp, contact: Contact): Buffer {
  writer.reset();
  writer.message(2, () => {
    writer.int(1, CRUD[op]);
    writer.string(2, contact.uid);
    writer.string(3, contact.callsign);
  });
  return writer.finish();
}

export interface RolScan {
  /** Verb and resource of the program: `create mission`. '' when it does not begin like one. */
  readonly summary: string;
  readonly groups: readonly string[] | undefined;
  readonly provenance: readonly Provenance[] | undefined;
  readonly hops: Hops | undefined;
  readonly hasGroupHopLimits: boolean;
  /** Files and other attachments: how many, and the sum of their sizes. */
  readonly payloads: number;
  readonly payloadBytes: number;
}

/** Reads what policy and the screen need of a ROL. The command itself stays in the bytes. */
export function scanRol(bytes: Buffer): RolScan {
  const reader = new ProtoReader(bytes);
  const stamps = new StampScan();
  let summary = '';
  let payloads = 0;
  let payloadBytes = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) summary = scanProgram(reader);
    else if (tag === lengthTag(2)) {
      payloads++;
      payloadBytes += scanBlob(reader);
    } else if (!scanStamp(reader, tag, stamps)) reader.skip(tag);
  }
  const { groups, provenance, hops, useLimits } = stamps;
  return { summary, groups, provenance, hops, hasGroupHopLimits: useLimits, payloads, payloadBytes };
}

/** ROL grammar: `<verb> <resource> {json};`, white space as you like. */
function scanProgram(reader: ProtoReader): string {
  const start = reader.skipString();
  const head = reader.buffer.toString('latin1', start, Math.min(reader.pos, start + MAX_SUMMARY_BYTES));
  const words = /^\s*(\w+)\s+(\w+)/.exec(head);
  return words ? `${words[1]} ${words[2]}` : '';
}

/** Passes a BinaryBlob; returns the size of its data. */
function scanBlob(reader: ProtoReader): number {
  const outer = reader.enter();
  const ignored = new StampScan();
  let size = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(2)) {
      size = reader.length();
      reader.pos += size;
    } else if (tag === lengthTag(3) || tag === lengthTag(5)) reader.skipString();
    // Fields 6 to 8 are 4 to 6 of a FederatedEvent.
    else if (tag < lengthTag(6) || !scanStamp(reader, tag - 16, ignored)) reader.skip(tag);
  }
  reader.leave(outer);
  return size;
}

class ContactScan {
  op = 0;
  uid = '';
  callsign = '';
}

function scanContact(reader: ProtoReader, into: ContactScan): void {
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) into.op = reader.int64();
    else if (tag === lengthTag(2)) into.uid = xmlText(reader, MAX_UID_BYTES);
    else if (tag === lengthTag(3)) into.callsign = xmlText(reader, MAX_VALUE_BYTES);
    else if (tag === lengthTag(4) || tag === lengthTag(5) || tag === lengthTag(6)) reader.skipString();
    else reader.skip(tag);
  }
  reader.leave(outer);
}

/** undefined for what TAK ignores too: other operations, and contacts that nobody could address. */
function toContact(scan: ContactScan, bytes: Buffer): FederatedContact | undefined {
  const op = OPS.find((name) => CRUD[name] === scan.op);
  if (!op || (scan.uid === '' && scan.callsign === '')) return undefined;
  return { op, contact: { uid: scan.uid, callsign: scan.callsign }, bytes };
}

/** What of a GeoEvent becomes a CotEvent. */
class GeoScan {
  timeMs = 0;
  startMs = 0;
  staleMs = 0;
  lat = 0;
  lon = 0;
  hae = 0;
  ce = 0;
  le = 0;
  uid = '';
  type = '';
  how = '';
  /** Where `other`, the detail, lies in the input. */
  detailStart = 0;
  detailEnd = 0;
  destUids: string[] | undefined;
  destCallsigns: string[] | undefined;
  destMissions: string[] | undefined;
  feedUid = '';
}

/** The hot path. Cases are field number * 8 + wire type, written out so that they compile to a jump table. */
function scanGeo(reader: ProtoReader, into: GeoScan): void {
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case 1 * 8:
        into.timeMs = reader.int64();
        break;
      case 2 * 8:
        into.startMs = reader.int64();
        break;
      case 3 * 8:
        into.staleMs = reader.int64();
        break;
      case 4 * 8 + 1:
        into.lat = reader.double();
        break;
      case 5 * 8 + 1:
        into.lon = reader.double();
        break;
      case 6 * 8 + 1:
        into.hae = reader.double();
        break;
      case 7 * 8 + 1:
        into.ce = reader.double();
        break;
      case 8 * 8 + 1:
        into.le = reader.double();
        break;
      case 9 * 8 + 2:
        into.uid = xmlText(reader, MAX_UID_BYTES);
        break;
      case 10 * 8 + 2:
        into.type = xmlText(reader, MAX_TYPE_BYTES);
        break;
      case 11 * 8 + 2:
        into.how = xmlText(reader, MAX_VALUE_BYTES);
        break;
      case 12 * 8 + 2:
        into.detailEnd = reader.length() + reader.pos;
        into.detailStart = reader.pos;
        reader.pos = into.detailEnd;
        break;
      case 23 * 8 + 2:
        into.destUids = push(into.destUids, reader, MAX_UID_BYTES);
        break;
      case 24 * 8 + 2:
        into.destCallsigns = push(into.destCallsigns, reader, MAX_VALUE_BYTES);
        break;
      case 25 * 8 + 2:
        into.feedUid = xmlText(reader, MAX_VALUE_BYTES);
        break;
      case 26 * 8 + 2:
        into.destMissions = push(into.destMissions, reader, MAX_VALUE_BYTES);
        break;
      default:
        passGeoField(reader, tag);
    }
  }
  reader.leave(outer);
}

function push(list: string[] | undefined, reader: ProtoReader, maxBytes: number): string[] {
  const dests = list ?? [];
  if (dests.length >= MAX_DESTINATIONS) throw tooManyDestinations();
  dests.push(xmlText(reader, maxBytes));
  return dests;
}

/** A string that will have to stand in XML. */
function xmlText(reader: ProtoReader, maxBytes: number): string {
  const text = reader.string(maxBytes);
  if (!isXmlText(text)) throw new ProtocolError('bad_text', 'a character that XML does not allow');
  return text;
}

/** Fields that policy does not need, checked because a strict receiver ends the whole link over one of them. */
function passGeoField(reader: ProtoReader, tag: number): void {
  switch (tag) {
    case 14 * 8 + 2:
    case 15 * 8 + 2:
    case 16 * 8 + 2:
    case 17 * 8 + 2:
    case 18 * 8 + 2:
    case 19 * 8 + 2:
    case 25 * 8 + 2:
    case 27 * 8 + 2:
    case 28 * 8 + 2:
    case 29 * 8 + 2:
      reader.skipString();
      return;
    case 22 * 8 + 2:
      scanBlob(reader);
      return;
    case 30 * 8 + 2:
      return nested(reader, () => passBinaryPayload(reader));
    default:
      return reader.skip(tag);
  }
}

function passBinaryPayload(reader: ProtoReader): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1) || tag === lengthTag(2) || tag === lengthTag(5)) reader.skipString();
    else reader.skip(tag);
  }
}

/** Checks as the XML side does, so that an event is good or bad whichever way it came. */
function toEvent(scan: GeoScan, bytes: Buffer): CotEvent {
  if (scan.uid === '') throw new ProtocolError('missing_uid', 'event without a uid');
  if (scan.type === '') throw new ProtocolError('missing_type', 'event without a type');
  checkTime(scan.timeMs);
  checkTime(scan.startMs);
  checkTime(scan.staleMs);
  scan.hae = known(scan.hae);
  scan.ce = known(scan.ce);
  scan.le = known(scan.le);
  checkPoint(scan.lat, scan.lon, scan.hae, scan.ce, scan.le);
  if (scan.detailStart === scan.detailEnd) return makeEvent(scan, addressed(NO_DETAIL, scan));
  return makeEvent(scan, addressed(scanDetail(bytes.subarray(scan.detailStart, scan.detailEnd)), scan));
}

/** A height that some phone does not know is NaN by the time a Java server has put it into a double. */
function known(metres: number): number {
  return Number.isNaN(metres) ? UNKNOWN_METRES : metres;
}

/** The recipients stand in fields of their own; FreeTAKServer leaves them in the detail as well. */
function addressed(detail: DetailFields, { destUids, destCallsigns, destMissions, feedUid }: GeoScan): DetailFields {
  if (!destUids && !destCallsigns && !destMissions && feedUid === '') return detail;
  const uids = union(destUids, detail.destUids);
  const callsigns = union(destCallsigns, detail.destCallsigns);
  const missions = union(destMissions, detail.destMissions);
  // As XML each of them is one <dest>.
  if (uids.length + callsigns.length + missions.length > MAX_DESTINATIONS) throw tooManyDestinations();
  return { ...detail, destUids: uids, destCallsigns: callsigns, destMissions: missions, feedUid };
}

function union(fields: readonly string[] | undefined, detail: readonly string[]): readonly string[] {
  if (!fields) return detail;
  return detail.length === 0 ? fields : [...new Set([...fields, ...detail])];
}

function checkTime(ms: number): void {
  if (ms <= 0 || ms > MAX_TIME_MS) throw new ProtocolError('bad_time', `no such time: ${ms} ms`);
}

/** The message without the top-level fields of this tag. */
function without(bytes: Buffer, unwanted: number): Buffer {
  writer.reset();
  const reader = new ProtoReader(bytes);
  while (reader.more()) {
    const start = reader.pos;
    const tag = reader.tag();
    reader.skip(tag);
    if (tag !== unwanted) writer.raw(bytes, start, reader.pos);
  }
  return writer.finish();
}

function tooManyDestinations(): ProtocolError {
  return new ProtocolError('too_many_destinations', `more than ${MAX_DESTINATIONS} destinations`);
}
