// TAK protocol version 1: protobuf in frames that begin with 0xBF (protocol.txt; schema in proto/takmessage.proto).
// An element of the detail has a typed field only if that field holds the whole of it; everything else stays XML.
import type { CotEvent } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { trimCot } from './cot.ts';
import { MAX_UID_BYTES, makeEvent } from './cot-fields.ts';
import { type Element, outlineContent, outlineEvent } from './cot-outline.ts';
import { decimal, eventXml, without } from './cot-write.ts';
import { lengthTag, ProtoReader, ProtoWriter, varintLength, varintTag, writeVarint } from './proto.ts';
import { readTak, TYPED, TYPED_ELEMENTS, type TypedElement, text } from './tak-fields.ts';

const MAGIC = 0xbf;
const VERSION = 1;
/** In front of a datagram: magic, version, magic. */
const MESH_HEADER = Buffer.from([MAGIC, VERSION, MAGIC]);
/** Bytes between two frames of a stream before it counts as something else: goatak writes one 0x00 after each frame. */
const MAX_STRAY_BYTES = 64;
/** A length takes no more bytes than this: 2^28 is beyond every limit. */
const MAX_LENGTH_BYTES = 4;

// takmessage.proto: what ProtoReader.tag() returns for the fields of a TakControl.
const TAK_CONTROL = lengthTag(1);
const CONTROL = { minProtoVersion: varintTag(1), maxProtoVersion: varintTag(2), contactUid: lengthTag(3) } as const;
const MAX_UINT32 = 0xffff_ffff;
const NOTHING = Buffer.alloc(0);

const writer = new ProtoWriter();

/** Reads the header of one TakMessage. About 1.5 µs for a position report. Throws ProtocolError; `no_event` without one. */
export function scanTak(bytes: Buffer): CotEvent {
  const message = readTak(bytes, false);
  return makeEvent(message, message.detailFields());
}

/** Writes a TakMessage: `xml` is an event that scanCot() accepted, `event` what it said. */
export function takFromXml(xml: Buffer, event: CotEvent): Buffer {
  const source = trimCot(xml);
  const { event: root, detail, children } = outlineEvent(source, TYPED_ELEMENTS);
  const typed = fieldsFor(children);
  const extra = (name: string) => root?.attributes.get(name) ?? '';
  writer.reset();
  writer.message(2, (w) => {
    w.string(1, event.type);
    w.string(2, extra('access'));
    w.string(3, extra('qos'));
    w.string(4, extra('opex'));
    w.string(5, event.uid);
    w.int(6, event.timeMs);
    w.int(7, event.startMs);
    w.int(8, event.staleMs);
    w.string(9, event.how);
    w.double(10, event.lat);
    w.double(11, event.lon);
    w.double(12, event.hae);
    w.double(13, event.ce);
    w.double(14, event.le);
    w.message(15, () => {
      if (detail) writeDetail(w, without(source, typed, detail.tagEnd, detail.closeStart), typed);
    });
    w.string(16, extra('caveat'));
    w.string(17, extra('releasableTo'));
  });
  return writer.finish();
}

/** Writes a TakMessage that scanTak() accepted as XML. Of an element that is there twice the XML one counts. */
export function xmlFromTak(bytes: Buffer): Buffer {
  const message = readTak(bytes, true);
  // Also refuses XML that would break out of its place.
  message.detailFields();
  const taken = outlineContent(message.xmlDetail, TYPED_ELEMENTS).children.map((child) => child.name);
  const typed = message.typedXml(new Set(taken));
  if (typed === '' && message.xmlDetail.length === 0) return eventXml(message, '<detail/>', message);
  const parts = [Buffer.from(`<detail>${typed}`), message.xmlDetail, Buffer.from('</detail>')];
  return eventXml(message, Buffer.concat(parts), message);
}

/** What a device on a mesh says of the protocol versions it can decode. */
export interface TakControl {
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Whose versions these are; '' when the message's event tells. */
  readonly contactUid: string;
}

/** The TakControl in a TakMessage; undefined when it has none. A version that is not given is 1. */
export function readTakControl(bytes: Buffer): TakControl | undefined {
  const reader = new ProtoReader(bytes);
  let control: TakControl | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === TAK_CONTROL) control = readControl(reader, control);
    else reader.skip(tag);
  }
  return control;
}

/** A TakMessage that holds nothing but a TakControl. */
export function takControlMessage(control: TakControl): Buffer {
  writer.reset();
  writer.message(1, (w) => {
    w.int(1, control.minVersion);
    w.int(2, control.maxVersion);
    w.string(3, control.contactUid);
  });
  return writer.finish();
}

/** Puts a TakMessage into the frame of a stream: magic, length, message. */
export function frameTak(payload: Buffer): Buffer {
  const head = 1 + varintLength(payload.length);
  const frame = Buffer.allocUnsafe(head + payload.length);
  frame[0] = MAGIC;
  writeVarint(frame, 1, payload.length);
  payload.copy(frame, head);
  return frame;
}

/** Puts a TakMessage into a mesh datagram. */
export function frameMesh(payload: Buffer): Buffer {
  return Buffer.concat([MESH_HEADER, payload]);
}

/**
 * The TakMessage in a mesh datagram, sharing its memory; undefined when the datagram is not TAK protobuf (XML, perhaps).
 * Throws ProtocolError `tak_version` for a version that this relay does not speak.
 */
export function meshPayload(datagram: Buffer): Buffer | undefined {
  if (datagram[0] !== MAGIC || datagram.length < MESH_HEADER.length) return undefined;
  const versionBytes = datagram.indexOf(MAGIC, 1);
  if (versionBytes < 0) return undefined;
  if (versionBytes !== 2 || datagram[1] !== VERSION) {
    throw new ProtocolError('tak_version', 'a TAK protocol version other than 1');
  }
  return datagram.subarray(MESH_HEADER.length);
}

export interface TakFramerLimits {
  /** Bytes of one TakMessage. */
  readonly maxBytes: number;
}

/**
 * Cuts a stream into TakMessages. Stray bytes between frames are skipped. Every byte is copied at most once, and memory
 * for a message is taken when its length is known to be within the limit.
 */
export class TakFramer {
  /** Bytes that belonged to no frame. */
  skipped = 0;
  readonly #maxBytes: number;
  #stray = 0;
  #place: 'between' | 'length' | 'payload' = 'between';
  #length = 0;
  #lengthBytes = 0;
  /** A payload that began in an earlier chunk. */
  #store = NOTHING;
  #held = 0;

  constructor(limits: TakFramerLimits) {
    this.#maxBytes = limits.maxBytes;
  }

  /**
   * Takes the next bytes of the stream and emits every TakMessage that they complete; one may share memory with `chunk`.
   * Throws ProtocolError `not_tak`, `too_large` or `bad_length`; the stream is lost then.
   */
  push(chunk: Buffer, emit: (payload: Buffer) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#place === 'payload') at = this.#payload(chunk, at, emit);
      else if (this.#place === 'length') this.#readLength(chunk[at++]!);
      else this.#between(chunk[at++]!);
    }
  }

  #between(byte: number): void {
    if (byte === MAGIC) {
      this.#stray = 0;
      this.#length = 0;
      this.#lengthBytes = 0;
      this.#place = 'length';
      return;
    }
    this.skipped++;
    if (++this.#stray > MAX_STRAY_BYTES) throw new ProtocolError('not_tak', 'no frame of the TAK protocol');
  }

  #readLength(byte: number): void {
    this.#length += (byte & 0x7f) * 0x80 ** this.#lengthBytes++;
    if (byte >= 0x80) {
      if (this.#lengthBytes === MAX_LENGTH_BYTES) throw new ProtocolError('bad_length', 'a length that does not end');
      return;
    }
    if (this.#length > this.#maxBytes) {
      throw new ProtocolError('too_large', `${this.#length} bytes in one message, ${this.#maxBytes} are allowed`);
    }
    // An empty TakMessage says nothing.
    this.#place = this.#length === 0 ? 'between' : 'payload';
  }

  #payload(chunk: Buffer, at: number, emit: (payload: Buffer) => void): number {
    const end = Math.min(chunk.length, at + this.#length - this.#held);
    if (this.#held === 0 && end - at === this.#length) {
      this.#place = 'between';
      emit(chunk.subarray(at, end));
      return end;
    }
    if (this.#held === 0) this.#store = Buffer.allocUnsafeSlow(this.#length);
    this.#held += chunk.copy(this.#store, this.#held, at, end);
    if (this.#held === this.#length) {
      const payload = this.#store;
      this.#store = NOTHING;
      this.#held = 0;
      this.#place = 'between';
      emit(payload);
    }
    return end;
  }
}

function readControl(reader: ProtoReader, before: TakControl | undefined): TakControl {
  let { minVersion, maxVersion, contactUid } = before ?? { minVersion: 1, maxVersion: 1, contactUid: '' };
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === CONTROL.minProtoVersion) minVersion = reader.varint() || 1;
    else if (tag === CONTROL.maxProtoVersion) maxVersion = reader.varint() || 1;
    else if (tag === CONTROL.contactUid) contactUid = text(reader, 'contactUid', MAX_UID_BYTES);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return { minVersion, maxVersion, contactUid };
}

/**
 * Those of the elements that go into typed fields, in document order. Of two with one name neither does: which of them
 * counts is not known.
 */
function fieldsFor(elements: readonly Element[]): Element[] {
  const counts = new Map<string, number>();
  for (const { name } of elements) counts.set(name, (counts.get(name) ?? 0) + 1);
  return elements.filter((element) => counts.get(element.name) === 1 && hasField(element));
}

/** True when a typed field can hold all of the element: these attributes, no others, nothing inside, the text intact. */
function hasField({ name, attributes, tagEnd, closeStart }: Element): boolean {
  if (tagEnd !== closeStart) return false;
  const expected = TYPED[name as TypedElement].attributes;
  if (name === 'contact') {
    const endpoint = attributes.get('endpoint');
    return attributes.has('callsign') && endpoint !== '' && attributes.size === (endpoint === undefined ? 1 : 2);
  }
  if (attributes.size !== expected.length || !expected.every((attribute) => attributes.has(attribute))) return false;
  const values = [...attributes.values()];
  if (name === 'status') return values.every((value) => /^\d+$/.test(value) && String(uint32(value)) === value);
  if (name === 'track') return values.every((value) => decimal(finite(value)) === value);
  return true;
}

function uint32(value: string): number {
  return Math.min(Number(value), MAX_UINT32);
}

function finite(value: string): number {
  const n = Number(value);
  return Number.isFinite(n) ? n : 0;
}

function writeDetail(w: ProtoWriter, xml: Buffer, typed: readonly Element[]): void {
  // White space between elements says nothing.
  if (xml.some((byte) => byte > 0x20)) w.bytes(1, xml);
  TYPED_ELEMENTS.forEach((name, index) => {
    const element = typed.find((candidate) => candidate.name === name);
    if (element) w.message(index + 2, () => writeElement(w, name, element.attributes));
  });
}

function writeElement(w: ProtoWriter, name: TypedElement, values: ReadonlyMap<string, string>): void {
  TYPED[name].attributes.forEach((attribute, index) => {
    const value = values.get(attribute) ?? '';
    if (name === 'status') w.int(index + 1, Number(value));
    else if (name === 'track') w.double(index + 1, Number(value));
    else w.string(index + 1, value);
  });
}
