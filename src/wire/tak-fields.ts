// What a TakMessage says: the fields of its CotEvent, as policy needs them or, in whole, as XML does.
import { ProtocolError } from '../lib/errors.ts';
import { scanDetailContent } from './cot.ts';
import {
  checkLength,
  checkPoint,
  type DetailFields,
  DetailRules,
  type EventHeader,
  MAX_TIME_MS,
  MAX_TYPE_BYTES,
  MAX_UID_BYTES,
  MAX_VALUE_BYTES,
  UNKNOWN_METRES,
} from './cot-fields.ts';
import { attribute, decimal } from './cot-write.ts';
import { fixed64Tag, lengthTag, ProtoReader, varintTag, WIRE } from './proto.ts';
import { isXmlText } from './xml.ts';

// takmessage.proto: what ProtoReader.tag() returns for the fields read here.
const COT_EVENT = lengthTag(2);
const EVENT = {
  type: lengthTag(1),
  access: lengthTag(2),
  qos: lengthTag(3),
  opex: lengthTag(4),
  uid: lengthTag(5),
  sendTime: varintTag(6),
  startTime: varintTag(7),
  staleTime: varintTag(8),
  how: lengthTag(9),
  lat: fixed64Tag(10),
  lon: fixed64Tag(11),
  hae: fixed64Tag(12),
  ce: fixed64Tag(13),
  le: fixed64Tag(14),
  detail: lengthTag(15),
  caveat: lengthTag(16),
  releasableTo: lengthTag(17),
} as const;
const DETAIL = {
  xmlDetail: lengthTag(1),
  contact: lengthTag(2),
  group: lengthTag(3),
  precisionLocation: lengthTag(4),
  status: lengthTag(5),
  takv: lengthTag(6),
  track: lengthTag(7),
} as const;

/** The elements that have a typed field, in the order of these fields. */
export const TYPED_ELEMENTS = ['contact', '__group', 'precisionlocation', 'status', 'takv', 'track'] as const;
export type TypedElement = (typeof TYPED_ELEMENTS)[number];
interface Typed {
  /** In the order of field numbers. */
  readonly attributes: readonly string[];
  /** What a field that is not there means. */
  readonly absent: readonly string[];
  readonly wireType: number;
}
export const TYPED: Readonly<Record<TypedElement, Typed>> = {
  contact: { attributes: ['endpoint', 'callsign'], absent: ['', ''], wireType: WIRE.length },
  __group: { attributes: ['name', 'role'], absent: ['', ''], wireType: WIRE.length },
  precisionlocation: { attributes: ['geopointsrc', 'altsrc'], absent: ['', ''], wireType: WIRE.length },
  status: { attributes: ['battery'], absent: ['0'], wireType: WIRE.varint },
  takv: { attributes: ['device', 'platform', 'os', 'version'], absent: ['', '', '', ''], wireType: WIRE.length },
  track: { attributes: ['speed', 'course'], absent: ['0.0', '0.0'], wireType: WIRE.fixed64 },
};
const TWO_32 = 0x1_0000_0000;
const NOTHING = Buffer.alloc(0);

/**
 * Reads the event of a TakMessage and checks it as scanCot() checks XML. `whole`: with all that its XML needs; otherwise
 * with what policy needs. Both refuse the same messages, with ProtocolError.
 */
export function readTak(bytes: Buffer, whole: boolean): TakEvent {
  const reader = new ProtoReader(bytes);
  const event = new TakEvent(whole);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === COT_EVENT) {
      const outer = reader.enter();
      event.read(reader);
      reader.leave(outer);
    } else reader.skip(tag);
  }
  event.check();
  return event;
}

/** The fields of a CotEvent message, collected as protobuf merges them: repeated messages add up, the last scalar wins. */
export class TakEvent implements EventHeader {
  uid = '';
  type = '';
  how = '';
  timeMs = 0;
  startMs = 0;
  staleMs = 0;
  lat = 0;
  lon = 0;
  hae = 0;
  ce = 0;
  le = 0;
  access = '';
  qos = '';
  opex = '';
  caveat = '';
  releasableTo = '';
  /** The part of the detail that is XML. */
  xmlDetail: Buffer = NOTHING;
  #present = false;
  /** Values of the typed elements, in the order of TYPED. */
  readonly #typed: { [element in TypedElement]: string[] | undefined } = {
    contact: undefined,
    __group: undefined,
    precisionlocation: undefined,
    status: undefined,
    takv: undefined,
    track: undefined,
  };
  /** False: what policy does not need is checked and passed over. */
  readonly #whole: boolean;

  constructor(whole: boolean) {
    this.#whole = whole;
  }

  read(reader: ProtoReader): void {
    this.#present = true;
    while (reader.more()) {
      const tag = reader.tag();
      if (tag === EVENT.type) this.type = text(reader, 'type', MAX_TYPE_BYTES);
      else if (tag === EVENT.access) this.access = reader.string();
      else if (tag === EVENT.qos) this.qos = reader.string();
      else if (tag === EVENT.opex) this.opex = reader.string();
      else if (tag === EVENT.uid) this.uid = text(reader, 'uid', MAX_UID_BYTES);
      else if (tag === EVENT.sendTime) this.timeMs = reader.varint();
      else if (tag === EVENT.startTime) this.startMs = reader.varint();
      else if (tag === EVENT.staleTime) this.staleMs = reader.varint();
      else if (tag === EVENT.how) this.how = text(reader, 'how');
      else if (tag === EVENT.lat) this.lat = reader.double() + 0;
      else if (tag === EVENT.lon) this.lon = reader.double() + 0;
      else if (tag === EVENT.hae) this.hae = metres(reader);
      else if (tag === EVENT.ce) this.ce = metres(reader);
      else if (tag === EVENT.le) this.le = metres(reader);
      else if (tag === EVENT.detail) this.#detail(reader);
      else if (tag === EVENT.caveat) this.caveat = reader.string();
      else if (tag === EVENT.releasableTo) this.releasableTo = reader.string();
      else reader.skip(tag);
    }
  }

  /** The same demands as on XML. */
  check(): void {
    if (!this.#present) throw new ProtocolError('no_event', 'TakMessage without an event');
    if (this.uid === '') throw new ProtocolError('missing_uid', 'event without a uid');
    if (this.type === '') throw new ProtocolError('missing_type', 'event without a type');
    if (this.timeMs === 0) throw new ProtocolError('missing_time', 'event without time');
    if (this.staleMs === 0) throw new ProtocolError('missing_stale', 'event without stale');
    if (this.startMs === 0) this.startMs = this.timeMs;
    if (Math.max(this.timeMs, this.startMs, this.staleMs) > MAX_TIME_MS) {
      throw new ProtocolError('bad_time', 'a time beyond the year 9999');
    }
    checkPoint(this.lat, this.lon, this.hae, this.ce, this.le);
  }

  /** detail.proto: where an element is there twice, typed and as XML, the XML one counts. */
  detailFields(): DetailFields {
    const fields = this.xmlDetail.length > 0 ? scanDetailContent(this.xmlDetail) : new DetailRules();
    const { contact, __group: group } = this.#typed;
    if (contact && !fields.hasContact) [fields.endpoint, fields.callsign] = contact as [string, string];
    if (group && !fields.hasGroup) [fields.team, fields.role] = group as [string, string];
    return fields;
  }

  /** The typed elements as XML, without those named. */
  typedXml(without: ReadonlySet<string>): string {
    let xml = '';
    for (const element of TYPED_ELEMENTS) {
      const values = this.#typed[element];
      if (!values || without.has(element)) continue;
      const attributes = TYPED[element].attributes.map((name, index) =>
        // The one field that may be missing; proto3 cannot tell that from ''.
        name === 'endpoint' && values[index] === '' ? '' : attribute(name, values[index]),
      );
      xml += `<${element}${attributes.join('')}/>`;
    }
    return xml;
  }

  #detail(reader: ProtoReader): void {
    const outer = reader.enter();
    while (reader.more()) {
      const tag = reader.tag();
      if (tag === DETAIL.xmlDetail) this.xmlDetail = reader.bytes();
      else if (tag === DETAIL.contact) this.#element(reader, 'contact', text);
      else if (tag === DETAIL.group) this.#element(reader, '__group', text);
      else if (tag === DETAIL.precisionLocation) this.#extra(reader, 'precisionlocation', string, passString);
      else if (tag === DETAIL.status) this.#extra(reader, 'status', count, count);
      else if (tag === DETAIL.takv) this.#extra(reader, 'takv', string, passString);
      else if (tag === DETAIL.track) this.#extra(reader, 'track', real, passReal);
      else reader.skip(tag);
    }
    reader.leave(outer);
  }

  #element(reader: ProtoReader, element: TypedElement, read: ReadValue): void {
    const values = this.#typed[element] ?? TYPED[element].absent.slice();
    this.#typed[element] = values;
    readValues(reader, element, read, values);
  }

  /** An element that policy does not look at. */
  #extra(reader: ProtoReader, element: TypedElement, read: ReadValue, pass: ReadValue): void {
    if (this.#whole) this.#element(reader, element, read);
    else readValues(reader, element, pass);
  }
}

type ReadValue = (reader: ProtoReader) => string;

/** Reads the message of a typed element; all fields of one are of one kind. Without `values` they are only checked. */
function readValues(reader: ProtoReader, element: TypedElement, read: ReadValue, values?: string[]): void {
  const { attributes, wireType } = TYPED[element];
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    const index = (tag >>> 3) - 1;
    if (index < attributes.length && (tag & 7) === wireType) {
      const value = read(reader);
      if (values) values[index] = value;
    } else reader.skip(tag);
  }
  reader.leave(outer);
}

/** A value that ends up in a CotEvent: bounded, and nothing that XML could not hold. */
export function text(reader: ProtoReader, what = 'a value', limit = MAX_VALUE_BYTES): string {
  const value = reader.string();
  checkLength(what, value, limit);
  if (!isXmlText(value)) throw new ProtocolError('bad_text', `${what} holds a character that XML does not allow`);
  return value;
}

function string(reader: ProtoReader): string {
  return reader.string();
}

function passString(reader: ProtoReader): string {
  reader.skipString();
  return '';
}

function count(reader: ProtoReader): string {
  return String(reader.varint() % TWO_32);
}

function real(reader: ProtoReader): string {
  return decimal(reader.double());
}

function passReal(reader: ProtoReader): string {
  reader.skip(WIRE.fixed64);
  return '';
}

/** A height or an error; NaN is unknown, as it is in XML. */
function metres(reader: ProtoReader): number {
  const n = reader.double();
  return Number.isNaN(n) ? UNKNOWN_METRES : n + 0;
}
