// An event as XML and as GeoEvent (fig.proto): the mapping of TAK servers without the losses they accept. Milliseconds
// stay, nothing appears that was not there, and what a field cannot hold exactly stays XML inside `other`.
//
// Lost for want of a field: qos, opex, which <dest> attributes stood together, how a number was spelt. The other way round:
// feedUid, bloads, fields 16 to 19, and a binary for which there is no <image>.
import type { CotEvent } from '../core/message.ts';
import { trimCot } from './cot.ts';
import { type Element, outlineContent, outlineEvent } from './cot-outline.ts';
import { attribute, decimal, eventXml } from './cot-write.ts';
import { contactFederated } from './federation.ts';
import { fixed64Tag, lengthTag, ProtoReader, ProtoWriter, varintTag } from './proto.ts';

/** fig.proto BINARY_TYPES */
const IMAGE = 2;
/** Children of <detail> that have fields of their own. */
const FIELD_ELEMENTS = ['status', 'precisionlocation', 'track', 'image', 'marti'] as const;
/** Attributes of <dest> that have a field. */
const DEST_FIELDS = ['uid', 'callsign', 'mission'] as const;
/** Whole numbers that survive the way through an int32; 0 is the same as absent there. */
const BATTERY = /^-?[1-9]\d{0,8}$/;
/** What TAK and phones write into a track; "NaN" for a course that is not known. */
const NUMBER = /^(NaN|[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?)$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const EMPTY_DETAIL = Buffer.from('<detail/>');

const writer = new ProtoWriter();

/** Replaces bytes start..end by `text`. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Writes a FederatedEvent, without groups, provenance and hops, from an event that scanCot() accepted and what it said.
 * A disconnect becomes what TAK servers make of it: the deletion of a contact.
 */
export function federatedFromXml(xml: Buffer, event: CotEvent): Buffer {
  const source = trimCot(xml);
  if (event.type === 't-x-d-d' && event.linkUid !== '') return departure(source, event);
  const { event: root, detail, children } = outlineEvent(source, FIELD_ELEMENTS);
  const moved = new Moved(source, children);
  const extra = (name: string) => root?.attributes.get(name) ?? '';
  writer.reset();
  writer.message(1, () => {
    writeHeader(writer, event);
    writer.bytes(12, detail ? edited(source, detail.start, detail.end, moved.edits) : EMPTY_DETAIL);
    moved.write(writer);
    for (const uid of event.destUids) writer.string(23, uid);
    for (const callsign of event.destCallsigns) writer.string(24, callsign);
    for (const mission of event.destMissions) writer.string(26, mission);
    writer.string(27, extra('access'));
    writer.string(28, extra('caveat'));
    writer.string(29, extra('releasableTo'));
  });
  return writer.finish();
}

/** tak-federation §3.3: link@type goes where the callsign would be. */
function departure(source: Buffer, event: CotEvent): Buffer {
  const link = outlineEvent(source, ['link']).children[0];
  return contactFederated('delete', { uid: event.linkUid, callsign: link?.attributes.get('type') ?? '' });
}

/** Fields 1 to 11 of a GeoEvent. */
export function writeHeader(writer: ProtoWriter, event: CotEvent): void {
  writer.int(1, event.timeMs);
  writer.int(2, event.startMs);
  writer.int(3, event.staleMs);
  writer.double(4, event.lat);
  writer.double(5, event.lon);
  writer.double(6, event.hae);
  writer.double(7, event.ce);
  writer.double(8, event.le);
  writer.string(9, event.uid);
  writer.string(10, event.type);
  writer.string(11, event.how);
}

/**
 * What goes from the detail into fields. A field is filled from the first element of its name; the element itself is taken
 * out only when the field says all of it, so that a receiver that knows XML only through us loses nothing.
 */
class Moved {
  readonly edits: Edit[] = [];
  #battery = 0;
  #ploc = '';
  #palt = '';
  #track: { readonly speed: number; readonly course: number } | undefined;
  #image: Buffer | undefined;

  constructor(source: Buffer, children: readonly Element[]) {
    const named = (name: string) => children.filter((child) => child.name === name);
    this.#status(named('status'));
    this.#precision(named('precisionlocation'));
    this.#course(named('track'));
    this.#picture(source, named('image')[0]);
    for (const marti of named('marti')) this.edits.push(...destEdits(source, marti));
    this.edits.sort((a, b) => a.start - b.start);
  }

  write(w: ProtoWriter): void {
    w.int(13, this.#battery);
    w.string(14, this.#ploc);
    w.string(15, this.#palt);
    if (this.#track) {
      // Zeros as well: their being there tells a reader like ours that there was a track.
      w.presentDouble(20, this.#track.speed);
      w.presentDouble(21, this.#track.course);
    }
    const image = this.#image;
    if (!image) return;
    w.message(22, () => {
      w.int(1, IMAGE);
      w.bytes(2, image);
    });
  }

  #status(elements: readonly Element[]): void {
    const battery = elements[0]?.attributes.get('battery') ?? '';
    if (!BATTERY.test(battery) || elements[0]!.attributes.has('readiness')) return;
    this.#battery = Number(battery);
    this.#takeOut(elements, 1);
  }

  #precision(elements: readonly Element[]): void {
    const ploc = elements[0]?.attributes.get('geopointsrc');
    const palt = elements[0]?.attributes.get('altsrc');
    if (!ploc || !palt) return;
    this.#ploc = ploc;
    this.#palt = palt;
    this.#takeOut(elements, 2);
  }

  #course(elements: readonly Element[]): void {
    const speed = elements[0]?.attributes.get('speed') ?? '';
    const course = elements[0]?.attributes.get('course') ?? '';
    if (!NUMBER.test(speed) || !NUMBER.test(course)) return;
    this.#track = { speed: Number(speed), course: Number(course) };
    this.#takeOut(elements, 2);
  }

  #picture(source: Buffer, image: Element | undefined): void {
    if (!image || image.closeStart === image.tagEnd) return;
    const text = source.toString('latin1', image.tagEnd, image.closeStart).replace(/\s+/g, '');
    if (!BASE64.test(text)) return;
    const data = Buffer.from(text, 'base64');
    if (data.toString('base64') !== text) return;
    this.#image = data;
    this.edits.push({ start: image.tagEnd, end: image.closeStart, text: '' });
  }

  /** `attributes`: how many of them the fields hold. */
  #takeOut(elements: readonly Element[], attributes: number): void {
    const element = elements[0]!;
    if (elements.length > 1 || element.attributes.size > attributes || element.closeStart > element.tagEnd) return;
    this.edits.push({ start: element.start, end: element.end, text: '' });
  }
}

/** Takes out the <dest> that say no more than their fields do, and the <marti> around them when nothing else is in it. */
export function destEdits(source: Buffer, marti: Element, fields: readonly string[] = DEST_FIELDS): Edit[] {
  const content = source.subarray(marti.tagEnd, marti.closeStart);
  const edits = outlineContent(content, ['dest'])
    .children.filter((dest) => isPlainDest(dest, fields))
    .map(({ start, end }) => ({ start: start + marti.tagEnd, end: end + marti.tagEnd, text: '' }));
  if (edits.length === 0 || marti.attributes.size > 0) return edits;
  const rest = edited(source, marti.tagEnd, marti.closeStart, edits);
  return rest.toString('latin1').trim() === '' ? [{ start: marti.start, end: marti.end, text: '' }] : edits;
}

function isPlainDest(dest: Element, fields: readonly string[]): boolean {
  const known = fields.filter((name) => dest.attributes.get(name)).length;
  return known > 0 && known === dest.attributes.size && dest.closeStart === dest.tagEnd;
}

/** Writes the event in a FederatedEvent as XML. `event` is what scanFederated() made of the same bytes. */
export function xmlFromFederated(bytes: Buffer, event: CotEvent): Buffer {
  const geo = readGeo(bytes);
  const xml = eventXml(event, geo.other.length > 0 ? geo.other : EMPTY_DETAIL, geo);
  const { detail, children } = outlineEvent(xml, FIELD_ELEMENTS);
  const has = (name: string) => children.some((child) => child.name === name);
  const marti = children.filter((child) => child.name === 'marti');
  const dests = missingDests(xml, marti, event);
  const edits: Edit[] = [];
  let added = '';
  if (geo.track && !has('track')) added += trackXml(geo);
  if (geo.battery !== 0 && !has('status')) added += `<status battery="${geo.battery}"/>`;
  if (geo.ploc + geo.palt !== '' && !has('precisionlocation')) added += precisionXml(geo);
  if (dests !== '' && marti[0]) edits.push(inside(marti[0], dests));
  else if (dests !== '') added += `<marti>${dests}</marti>`;
  const image = children.find((child) => child.name === 'image');
  if (image && geo.image && image.closeStart === image.tagEnd) edits.push(inside(image, geo.image.toString('base64')));
  edits.sort((a, b) => a.start - b.start);
  if (added !== '') edits.push(inside(detail!, added));
  return edited(xml, 0, xml.length, edits);
}

/** Fields of GeoEvent that policy does not need but XML does. */
class GeoExtras {
  other: Buffer = EMPTY_DETAIL;
  battery = 0;
  ploc = '';
  palt = '';
  speed = 0;
  course = 0;
  /** Speed or course are in the message, be it as zero. */
  track = false;
  image: Buffer | undefined;
  access = '';
  caveat = '';
  releasableTo = '';
}

function readGeo(bytes: Buffer): GeoExtras {
  const geo = new GeoExtras();
  const reader = new ProtoReader(bytes);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(1)) {
      const outer = reader.enter();
      readExtras(reader, geo);
      reader.leave(outer);
    } else reader.skip(tag);
  }
  return geo;
}

function readExtras(reader: ProtoReader, into: GeoExtras): void {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === lengthTag(12)) into.other = reader.bytes();
    else if (tag === varintTag(13)) into.battery = reader.int64() | 0;
    else if (tag === lengthTag(14)) into.ploc = reader.string();
    else if (tag === lengthTag(15)) into.palt = reader.string();
    else if (tag === fixed64Tag(20)) {
      into.speed = reader.double();
      into.track = true;
    } else if (tag === fixed64Tag(21)) {
      into.course = reader.double();
      into.track = true;
    } else if (tag === lengthTag(22)) into.image = readImage(reader) ?? into.image;
    else if (tag === lengthTag(27)) into.access = reader.string();
    else if (tag === lengthTag(28)) into.caveat = reader.string();
    else if (tag === lengthTag(29)) into.releasableTo = reader.string();
    else reader.skip(tag);
  }
}

/** The data of a BinaryBlob that is an image. */
function readImage(reader: ProtoReader): Buffer | undefined {
  const outer = reader.enter();
  let type = 0;
  let data: Buffer | undefined;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === varintTag(1)) type = reader.int64();
    else if (tag === lengthTag(2)) data = reader.bytes();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return type === IMAGE ? data : undefined;
}

function trackXml({ speed, course }: GeoExtras): string {
  return `<track${attribute('course', real(course))}${attribute('speed', real(speed))}/>`;
}

/** NaN and infinities keep the spelling that Java and phones share. */
function real(n: number): string {
  return Number.isFinite(n) ? decimal(n) : String(n);
}

function precisionXml({ ploc, palt }: GeoExtras): string {
  return `<precisionlocation${attribute('altsrc', palt || undefined)}${attribute('geopointsrc', ploc || undefined)}/>`;
}

/** <dest> for those recipients that no <dest> in the detail names. */
function missingDests(xml: Buffer, marti: readonly Element[], event: CotEvent): string {
  const named = marti.flatMap(
    ({ tagEnd, closeStart }) => outlineContent(xml.subarray(tagEnd, closeStart), ['dest']).children,
  );
  const missing = (name: (typeof DEST_FIELDS)[number], values: readonly string[]) => {
    const there = new Set(named.map((dest) => dest.attributes.get(name)));
    return values.filter((value) => !there.has(value)).map((value) => `<dest${attribute(name, value)}/>`);
  };
  const { destUids, destCallsigns, destMissions } = event;
  const uids = missing('uid', destUids);
  const callsigns = missing('callsign', destCallsigns);
  return [...uids, ...callsigns, ...missing('mission', destMissions)].join('');
}

/** Puts text at the end of an element. */
function inside(element: Element, text: string): Edit {
  if (!element.empty) return { start: element.closeStart, end: element.closeStart, text };
  return { start: element.tagEnd - 2, end: element.tagEnd, text: `>${text}</${element.name}>` };
}

/** bytes[start..end) with the edits made, which stand in order and do not overlap. Shares memory when there are none. */
export function edited(bytes: Buffer, start: number, end: number, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return bytes.subarray(start, end);
  const parts: Buffer[] = [];
  let from = start;
  for (const edit of edits) {
    parts.push(bytes.subarray(from, edit.start));
    if (edit.text !== '') parts.push(Buffer.from(edit.text));
    from = edit.end;
  }
  return Buffer.concat([...parts, bytes.subarray(from, end)]);
}
