// What an event says: the rules that turn start tags into the fields of a CotEvent, whoever read the tags. Elements count
// only at their place (event/point, event/detail/contact, event/detail/marti/dest, ...); of repeated ones the first counts.
import type { CotEvent, NO_DETAIL } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import type { StartTag, TagVisitor } from './xml.ts';

export const MAX_UID_BYTES = 256;
export const MAX_TYPE_BYTES = 128;
/** Any other extracted value: how, callsign, endpoint, team, role, chat id, destinations. */
export const MAX_VALUE_BYTES = 1024;
/** marti/dest elements of one event. */
export const MAX_DESTINATIONS = 1000;
/** The last millisecond of the year 9999: beyond it ISO-8601 needs more digits. */
export const MAX_TIME_MS = 253_402_300_799_999;
/** CoT's "unknown" for hae, ce and le. */
export const UNKNOWN_METRES = 9_999_999;
/** Longer than any time or number, and short enough for regular expressions. */
const MAX_ODD_LENGTH = 64;
/** No height or error is as large as this, in metres. */
const MAX_METRES = 1e9;

const NONE: readonly string[] = [];

/** What the detail of an event tells. */
export type DetailFields = Pick<CotEvent, keyof typeof NO_DETAIL>;
export type EventHeader = Omit<CotEvent, keyof DetailFields>;

/** Reads the children of <detail>, which stand at depth 2. */
export class DetailRules implements TagVisitor, DetailFields {
  callsign = '';
  endpoint = '';
  team = '';
  role = '';
  destUids = NONE;
  destCallsigns = NONE;
  destMissions = NONE;
  chatId = '';
  sender = '';
  /** Only GeoEvent has it. */
  readonly feedUid = '';
  flowTags = NONE;
  linkUid = '';
  hasContact = false;
  hasGroup = false;
  /** A <group> was read; it counts only where there is no <__group>. */
  #hasPlainGroup = false;
  #hasChat = false;
  #hasLink = false;
  #inMarti = false;
  #destinations = 0;

  open(tag: StartTag, depth: number): void {
    // Every stream receiver cuts behind the next </event>: an inner one would break all that follows.
    if (tag.is('event')) throw new ProtocolError('nested_event', 'an <event> inside the event');
    if (depth === 2) this.#child(tag);
    else if (depth === 3 && this.#inMarti && tag.is('dest')) this.#dest(tag);
  }

  #child(tag: StartTag): void {
    this.#inMarti = false;
    if (tag.is('contact')) this.#contact(tag);
    else if (tag.is('__group')) this.#group(tag);
    else if (tag.is('group')) this.#plainGroup(tag);
    else if (tag.is('marti')) this.#inMarti = true;
    else if (tag.is('__chat')) this.#chat(tag);
    else if (tag.is('link')) this.#link(tag);
    else if (tag.is('_flow-tags_')) this.flowTags = this.flowTags.concat(tag.names());
  }

  #contact(tag: StartTag): void {
    if (this.hasContact) return;
    this.hasContact = true;
    this.callsign = value(tag, 'callsign');
    this.endpoint = value(tag, 'endpoint');
  }

  #group(tag: StartTag): void {
    if (this.hasGroup) return;
    this.hasGroup = true;
    this.team = value(tag, 'name');
    this.role = value(tag, 'role');
  }

  #plainGroup(tag: StartTag): void {
    if (this.hasGroup || this.#hasPlainGroup) return;
    this.#hasPlainGroup = true;
    this.team = value(tag, 'name');
    this.role = value(tag, 'role');
  }

  #chat(tag: StartTag): void {
    if (this.#hasChat) return;
    this.#hasChat = true;
    this.chatId = value(tag, 'id');
    this.sender = value(tag, 'senderCallsign');
  }

  #link(tag: StartTag): void {
    if (this.#hasLink) return;
    this.#hasLink = true;
    this.linkUid = value(tag, 'uid', MAX_UID_BYTES);
  }

  #dest(tag: StartTag): void {
    if (++this.#destinations > MAX_DESTINATIONS) {
      throw new ProtocolError('too_many_destinations', `more than ${MAX_DESTINATIONS} destinations`);
    }
    this.destUids = added(this.destUids, value(tag, 'uid', MAX_UID_BYTES));
    this.destCallsigns = added(this.destCallsigns, value(tag, 'callsign'));
    this.destMissions = added(this.destMissions, value(tag, 'mission'));
  }
}

/** Reads a whole event. */
export class EventRules implements TagVisitor, EventHeader {
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
  readonly #detail = new DetailRules();
  #hasPoint = false;
  #hasDetail = false;
  #inDetail = false;

  open(tag: StartTag, depth: number): void {
    if (depth === 0) this.#event(tag);
    else {
      if (depth === 1) this.#section(tag);
      // Depth 4 is too deep for the rules to look at anything but the name.
      this.#detail.open(tag, this.#inDetail ? depth : 4);
    }
  }

  /** The event that was read. Throws `missing_point`. */
  event(): CotEvent {
    if (!this.#hasPoint) throw new ProtocolError('missing_point', 'event without a <point>');
    return makeEvent(this, this.#detail);
  }

  #event(tag: StartTag): void {
    if (!tag.is('event')) throw new ProtocolError('not_event', 'the root element is not <event>');
    this.uid = value(tag, 'uid', MAX_UID_BYTES);
    if (this.uid === '') throw new ProtocolError('missing_uid', 'event without a uid');
    this.type = value(tag, 'type', MAX_TYPE_BYTES);
    if (this.type === '') throw new ProtocolError('missing_type', 'event without a type');
    // 1970 to the millisecond is a time that nobody set; nor could the TAK protocol tell it from none.
    this.timeMs = time(tag, 'time') || missing('time');
    this.startMs = time(tag, 'start') || this.timeMs;
    this.staleMs = time(tag, 'stale') || missing('stale');
    this.how = value(tag, 'how');
  }

  #section(tag: StartTag): void {
    this.#inDetail = tag.is('detail');
    if (this.#inDetail) {
      // A filter would read the first one and a receiver perhaps the last.
      if (this.#hasDetail) throw new ProtocolError('duplicate_detail', 'event with two <detail>');
      this.#hasDetail = true;
    } else if (tag.is('point')) {
      if (this.#hasPoint) throw new ProtocolError('duplicate_point', 'event with two <point>');
      this.#hasPoint = true;
      this.#point(tag);
    }
  }

  #point(tag: StartTag): void {
    this.lat = number(tag, 'lat', Number.NaN);
    this.lon = number(tag, 'lon', Number.NaN);
    this.hae = number(tag, 'hae', UNKNOWN_METRES);
    this.ce = number(tag, 'ce', UNKNOWN_METRES);
    this.le = number(tag, 'le', UNKNOWN_METRES);
    checkPoint(this.lat, this.lon, this.hae, this.ce, this.le);
  }
}

/** One object shape for all events, whatever wire they came by. */
export function makeEvent(header: EventHeader, detail: DetailFields): CotEvent {
  return {
    uid: header.uid,
    type: header.type,
    how: header.how,
    timeMs: header.timeMs,
    startMs: header.startMs,
    staleMs: header.staleMs,
    lat: header.lat,
    lon: header.lon,
    hae: header.hae,
    ce: header.ce,
    le: header.le,
    callsign: detail.callsign,
    endpoint: detail.endpoint,
    team: detail.team,
    role: detail.role,
    destUids: detail.destUids,
    destCallsigns: detail.destCallsigns,
    destMissions: detail.destMissions,
    chatId: detail.chatId,
    sender: detail.sender,
    flowTags: detail.flowTags,
    linkUid: detail.linkUid,
    feedUid: detail.feedUid,
  };
}

/** Refuses coordinates that are no place on Earth, with ProtocolError `bad_point`. */
export function checkPoint(lat: number, lon: number, hae: number, ce: number, le: number): void {
  const good =
    Math.abs(lat) <= 90 &&
    Math.abs(lon) <= 180 &&
    Math.abs(hae) <= MAX_METRES &&
    Math.abs(ce) <= MAX_METRES &&
    Math.abs(le) <= MAX_METRES;
  if (!good) throw new ProtocolError('bad_point', `no place on Earth: ${lat}, ${lon}, ${hae} m`);
}

/** The value of an attribute, '' when absent. Longer than `limit` bytes: ProtocolError `too_long`. */
function value(tag: StartTag, attribute: string, limit = MAX_VALUE_BYTES): string {
  const text = tag.get(attribute) ?? '';
  checkLength(attribute, text, limit);
  return text;
}

/** Throws ProtocolError `too_long` for more than `limit` bytes of UTF-8. */
export function checkLength(what: string, text: string, limit: number): void {
  // No character takes more than three bytes per code unit.
  if (text.length * 3 <= limit || Buffer.byteLength(text) <= limit) return;
  throw new ProtocolError('too_long', `${what} is longer than ${limit} bytes`);
}

function missing(what: 'time' | 'stale'): never {
  throw new ProtocolError(`missing_${what}`, `event without ${what}`);
}

function added(list: readonly string[], item: string): readonly string[] {
  if (item === '') return list;
  if (list.length === 0) return [item];
  (list as string[]).push(item);
  return list;
}

/** Milliseconds; 0 when the attribute is absent. */
function time(tag: StartTag, attribute: string): number {
  if (!tag.find(attribute)) return 0;
  const ms = parseTime(tag.source, tag.valueStart, tag.valueEnd);
  return isTime(ms) ? ms : parseOddTime(tag.get(attribute) ?? '');
}

function number(tag: StartTag, attribute: string, absent: number): number {
  if (!tag.find(attribute)) return absent;
  const n = parseDecimal(tag.source, tag.valueStart, tag.valueEnd);
  return Number.isNaN(n) ? parseOddNumber(tag.get(attribute) ?? '', absent) : n;
}

/**
 * The usual form of a time, `2026-11-20T14:03:21.123Z` with any number of decimals or `±HH:MM`, in milliseconds UTC;
 * digits beyond milliseconds are cut off. NaN for any other form and for dates that do not exist.
 */
export function parseTime(bytes: Buffer, start: number, end: number): number {
  const punctuated =
    end - start >= 20 &&
    bytes[start + 4] === 0x2d &&
    bytes[start + 7] === 0x2d &&
    bytes[start + 10] === 0x54 &&
    bytes[start + 13] === 0x3a &&
    bytes[start + 16] === 0x3a;
  if (!punctuated) return Number.NaN;
  const date = daysSinceEpoch(
    two(bytes, start) * 100 + two(bytes, start + 2),
    two(bytes, start + 5),
    two(bytes, start + 8),
  );
  const clock = clockMs(two(bytes, start + 11), two(bytes, start + 14), two(bytes, start + 17));
  let at = start + 19;
  let fraction = 0;
  if (bytes[at] === 0x2e) {
    let scale = 100;
    for (at++; at < end && isDigit(bytes[at]!); at++) {
      fraction += (bytes[at]! - 0x30) * scale;
      scale = scale === 1 ? 0 : scale / 10;
    }
    if (bytes[at - 1] === 0x2e) return Number.NaN;
  }
  return date * 86_400_000 + clock + fraction - zoneMs(bytes, at, end);
}

/** Milliseconds east of UTC of a zone designator that fills [at..end); NaN when there is none. */
function zoneMs(bytes: Buffer, at: number, end: number): number {
  const sign = bytes[at];
  if (sign === 0x5a && end === at + 1) return 0;
  if ((sign !== 0x2b && sign !== 0x2d) || end !== at + 6 || bytes[at + 3] !== 0x3a) return Number.NaN;
  const ms = clockMs(two(bytes, at + 1), two(bytes, at + 4), 0);
  return sign === 0x2b ? ms : -ms;
}

function clockMs(hour: number, minute: number, second: number): number {
  return hour < 24 && minute < 60 && second < 60 ? ((hour * 60 + minute) * 60 + second) * 1000 : Number.NaN;
}

/** Days since 1970-01-01; NaN before that year and for days that the month does not have. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  if (!(year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month))) return Number.NaN;
  // Counted in years that begin in March, so that the leap day is the last one.
  const y = month > 2 ? year : year - 1;
  const m = month > 2 ? month - 3 : month + 9;
  const leapDays = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return 365 * y + leapDays + Math.floor((153 * m + 2) / 5) + day - 719_469;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Two digits as a number, NaN when they are none. */
function two(bytes: Buffer, at: number): number {
  const tens = bytes[at]!;
  const ones = bytes[at + 1]!;
  return isDigit(tens) && isDigit(ones) ? (tens - 0x30) * 10 + ones - 0x30 : Number.NaN;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isTime(ms: number): boolean {
  return ms >= 0 && ms <= MAX_TIME_MS;
}

const ODD_TIME =
  /^\s*(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(?:([Zz]|UTC)|([+-]\d\d):?(\d\d)?)?\s*$/;

/** Less usual ISO-8601: no seconds, a blank for the T, `+0100`, no zone at all (CoT is UTC). Throws `bad_time`. */
function parseOddTime(text: string): number {
  const parts = text.length <= MAX_ODD_LENGTH ? ODD_TIME.exec(text) : null;
  if (parts) {
    const [, date, clock, , hours, minutes = '00'] = parts;
    const seconds = clock!.length === 5 ? ':00' : '';
    const usual = Buffer.from(`${date}T${clock!.replace(',', '.')}${seconds}${hours ? `${hours}:${minutes}` : 'Z'}`);
    const ms = parseTime(usual, 0, usual.length);
    if (isTime(ms)) return ms;
  }
  throw new ProtocolError('bad_time', 'a time that cannot be read');
}

/** Powers of ten that a double holds exactly. */
const TENS = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** A plain decimal number; NaN for anything else. The result is the double nearest to the text, as Number() gives. */
export function parseDecimal(bytes: Buffer, start: number, end: number): number {
  const negative = bytes[start] === 0x2d;
  const first = negative ? start + 1 : start;
  let point = end;
  let mantissa = 0;
  for (let at = first; at < end; at++) {
    const byte = bytes[at]!;
    if (isDigit(byte)) mantissa = mantissa * 10 + byte - 0x30;
    else if (byte === 0x2e && point === end) point = at;
    else return Number.NaN;
  }
  if (point === first || point === end - 1) return Number.NaN;
  const decimals = point === end ? 0 : end - point - 1;
  // One rounding of two exact numbers is the nearest double; with more digits than that, two would not be.
  if (mantissa > Number.MAX_SAFE_INTEGER || decimals >= TENS.length) {
    return Number(bytes.toString('latin1', start, end)) + 0;
  }
  const magnitude = mantissa / TENS[decimals]!;
  // 0 - x makes no negative zero.
  return negative ? 0 - magnitude : magnitude;
}

/** Exponents, a plus sign, blanks around; "NaN" (as some phones write a height they do not know) counts as absent. */
function parseOddNumber(text: string, absent: number): number {
  const trimmed = text.length <= MAX_ODD_LENGTH ? text.trim() : '';
  if (/^nan$/i.test(trimmed)) return absent;
  if (/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/.test(trimmed)) return Number(trimmed) + 0;
  throw new ProtocolError('bad_point', 'a coordinate that is no number');
}
