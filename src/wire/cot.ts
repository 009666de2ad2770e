// CoT as XML: cutting streams into events and reading the header of an event without building a tree.
//
// What the relay vouches for. It forwards the bytes it received, so an event that a receiver cannot parse must end here:
// every event that scanCot() lets through is well-formed XML 1.0 in UTF-8, has one root, ends in the literal `</event>`
// that all stream receivers cut behind, and holds that literal nowhere else. Namespaces are not resolved: names count as
// written. DTDs and entities are refused.
import type { CotEvent } from '../core/message.ts';
import { ProtocolError } from '../lib/errors.ts';
import { type DetailFields, DetailRules, EventRules } from './cot-fields.ts';
import type { StartTag, TagVisitor } from './xml.ts';
import { walkContentStrict, walkElementStrict } from './xml-strict.ts';
import { XmlWalker } from './xml-walk.ts';

const EVENT_END = Buffer.from('</event>');
const AUTH_END = Buffer.from('</auth>');
const PI_END = Buffer.from('?>');
const COMMENT = Buffer.from('<!--');
const COMMENT_END = Buffer.from('-->');
const BOM = Buffer.from('\ufeff');
const EVENT_BEGIN = Buffer.from('<event');
const AUTH_BEGIN = Buffer.from('<auth');
const NOTHING = Buffer.alloc(0);
const BANG = 0x21;
const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const SLASH = 0x2f;
const LESS = 0x3c;
const GREATER = 0x3e;
const QUESTION = 0x3f;
/** Enough bytes behind a `<` to tell what it begins: `<event` and one more. */
const TOKEN_BYTES = 7;
/** An <auth> holds four short attributes. */
const MAX_AUTH_BYTES = 4096;
/** Memory for an event that came in pieces begins with this and doubles. */
const FIRST_CAPACITY = 2048;

const walker = new XmlWalker();

/**
 * Reads the header of one event. Before it may stand a byte order mark, an XML declaration, comments and white space;
 * after it white space: these are not vouched for, trimCot() takes them away. About 3 µs for a position report, where a
 * full parser takes 18. Throws ProtocolError.
 */
export function scanCot(bytes: Buffer): CotEvent {
  const start = skipProlog(bytes);
  const end = eventEnd(bytes, start);
  const rules = new EventRules();
  walker.walkElement(bytes, start, end, rules);
  return walker.odd ? scanStrict(bytes, start, end) : rules.event();
}

/**
 * True when the event (`bytes`: its XML or TakMessage) tells that the contact in link@uid has left. A user who deletes a map item
 * everywhere says it with the same type, and that is an event like any other.
 */
export function isLeave({ type }: CotEvent, bytes: Buffer): boolean {
  return type === 't-x-d-d' && !bytes.includes('__forcedelete');
}

/** The same answer from a full XML parser, several times slower. */
export function scanCotStrict(bytes: Buffer): CotEvent {
  const start = skipProlog(bytes);
  return scanStrict(bytes, start, eventEnd(bytes, start));
}

/** The event alone, without declaration, comments and white space around it. Shares memory with `bytes`. */
export function trimCot(bytes: Buffer): Buffer {
  const start = skipProlog(bytes);
  const end = eventEnd(bytes, start);
  return start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
}

/**
 * Reads a whole `<detail>…</detail>` element, as federation carries it; white space may surround it. Same checks and
 * errors as scanCot(), and `not_detail`.
 */
export function scanDetail(bytes: Buffer): DetailFields {
  const start = skipSpace(bytes, 0);
  const end = behindText(bytes, start);
  const rules = new DetailElementRules();
  walker.walkElement(bytes, start, end, rules, 1);
  if (!walker.odd) return rules;
  const strict = new DetailElementRules();
  walkElementStrict(bytes, start, end, strict, 1);
  refuseInnerEnd(bytes, start, end);
  return strict;
}

/** Reads the content of a <detail>, without its tags, as the TAK protocol carries it. Same checks and errors. */
export function scanDetailContent(bytes: Buffer): DetailRules {
  const rules = new DetailRules();
  walker.walkContent(bytes, 0, bytes.length, rules, 2);
  if (!walker.odd) return rules;
  const strict = new DetailRules();
  walkContentStrict(bytes, 0, bytes.length, strict, 2);
  refuseInnerEnd(bytes, 0, bytes.length);
  return strict;
}

/** Depth 1 of an event, when that is a <detail>. */
class DetailElementRules extends DetailRules {
  override open(tag: StartTag, depth: number): void {
    if (depth === 1 && !tag.is('detail')) throw new ProtocolError('not_detail', 'not a <detail> element');
    super.open(tag, depth);
  }
}

function scanStrict(bytes: Buffer, start: number, end: number): CotEvent {
  const rules = new EventRules();
  walkElementStrict(bytes, start, end, rules);
  refuseInnerEnd(bytes, start, end - EVENT_END.length);
  return rules.event();
}

/** In comments and CDATA the literal is legal XML, and would still cut the event in two at every receiver. */
function refuseInnerEnd(bytes: Buffer, start: number, end: number): void {
  const at = bytes.indexOf(EVENT_END, start);
  if (at >= 0 && at < end) throw new ProtocolError('inner_end', '</event> inside the event');
}

/** Returns the position of the first element. */
function skipProlog(bytes: Buffer): number {
  let at = skipSpace(bytes, startsWith(bytes, 0, BOM) ? BOM.length : 0);
  for (;;) {
    if (bytes[at] !== LESS) throw new ProtocolError('not_xml', 'does not begin with an element');
    let close: number;
    if (bytes[at + 1] === QUESTION) close = behind(bytes, PI_END, at + 2);
    else if (startsWith(bytes, at, COMMENT)) close = behind(bytes, COMMENT_END, at + COMMENT.length);
    else if (bytes[at + 1] === BANG) throw dtdRefused();
    else return at;
    if (close < 0) throw new ProtocolError('bad_xml', 'ends before the event');
    at = skipSpace(bytes, close);
  }
}

/** Returns the position behind `</event>`, which only white space may follow. */
function eventEnd(bytes: Buffer, start: number): number {
  const end = behindText(bytes, start);
  // No stream receiver would find the end of `</event >` or `<event/>`; nor has the latter a point.
  if (!startsWith(bytes, end - EVENT_END.length, EVENT_END)) {
    throw new ProtocolError('bad_end', 'does not end with </event>');
  }
  return end;
}

function skipSpace(bytes: Buffer, start: number): number {
  let at = start;
  while (at < bytes.length && isSpace(bytes[at]!)) at++;
  return at;
}

/** Returns the position behind the last byte that is no white space. */
function behindText(bytes: Buffer, start: number): number {
  let end = bytes.length;
  while (end > start && isSpace(bytes[end - 1]!)) end--;
  return end;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** The position behind the next `text`; -1 when there is none. */
function behind(bytes: Buffer, text: Buffer, from: number): number {
  const at = bytes.indexOf(text, from);
  return at < 0 ? -1 : at + text.length;
}

function startsWith(bytes: Buffer, at: number, text: Buffer): boolean {
  if (at < 0 || at + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}

function dtdRefused(): ProtocolError {
  return new ProtocolError('dtd_refused', 'document type and entity declarations are not accepted');
}

/** What a client says of itself before its first event. */
export interface Auth {
  readonly username: string;
  readonly password: string;
  readonly uid: string;
  readonly callsign: string;
}

/** Reads `<auth><cot username= password= uid= callsign=/></auth>`. Throws ProtocolError; `bad_auth` for no username. */
export function parseAuth(bytes: Buffer): Auth {
  if (bytes.length > MAX_AUTH_BYTES) throw new ProtocolError('too_large', `auth larger than ${MAX_AUTH_BYTES} bytes`);
  const rules = new AuthRules();
  walker.walkElement(bytes, 0, bytes.length, rules);
  if (walker.odd || rules.username === '') throw new ProtocolError('bad_auth', 'auth without a username');
  return { username: rules.username, password: rules.password, uid: rules.uid, callsign: rules.callsign };
}

class AuthRules implements TagVisitor, Auth {
  username = '';
  password = '';
  uid = '';
  callsign = '';

  open(tag: StartTag, depth: number): void {
    if (depth === 0 && !tag.is('auth')) throw new ProtocolError('bad_auth', 'not an <auth> element');
    if (depth !== 1 || this.username !== '' || !tag.is('cot')) return;
    this.username = tag.get('username') ?? '';
    this.password = tag.get('password') ?? '';
    this.uid = tag.get('uid') ?? '';
    this.callsign = tag.get('callsign') ?? '';
  }
}

/** What a framer cuts out: an event, or the credentials that may stand before the first one. */
export type FrameKind = 'event' | 'auth';
export type EmitFrame = (frame: Buffer, kind: FrameKind) => void;

export interface FramerLimits {
  /** Bytes of one event; also of anything between two events that has to be waited for. */
  readonly maxBytes: number;
}

/** Where the framer is: between events, or inside something that ends in a certain way. */
type Place = 'between' | 'declaration' | 'comment' | 'tag' | 'body';

/**
 * Cuts a stream into events behind the literal `</event>`, as all TAK peers do (protocol.txt, version 0), even where that
 * stands in a comment or CDATA: scanCot() refuses the pieces, and no receiver behind us could have read the whole. A
 * self-closed `<event/>` is a frame too. Declarations, comments, white space, NUL and byte order marks between events are
 * dropped. Every byte is looked at once, however the stream was split, and copied at most twice.
 */
export class CotFramer {
  readonly #maxBytes: number;
  /** Begin of a frame whose end has not come; `#held` bytes of it are in use. */
  #store = NOTHING;
  #held = 0;
  #place: Place = 'between';
  #kind: FrameKind = 'event';
  /** How far from the frame's start the search for its end has come. */
  #searched = 0;
  /** The quote that an attribute value inside the start tag began with; 0 outside values. */
  #quote = 0;

  constructor(limits: FramerLimits) {
    this.#maxBytes = limits.maxBytes;
  }

  /**
   * Takes the next bytes of the stream and emits every frame that they complete. A frame may share memory with `chunk`:
   * whoever keeps a small one for long should copy it. Throws ProtocolError `too_large`, `not_xml`, `not_event` or
   * `dtd_refused`; the stream is lost then.
   */
  push(chunk: Buffer, emit: EmitFrame): void {
    const data = this.#append(chunk);
    let start = 0;
    for (;;) {
      if (this.#place === 'between') start = this.#begin(data, start);
      if (this.#place === 'between') break;
      const end = this.#findEnd(data, start);
      const size = (end < 0 ? data.length : end) - start;
      if (size > this.#maxBytes) throw new ProtocolError('too_large', `more than ${this.#maxBytes} bytes in one event`);
      if (end < 0) break;
      const isFrame = this.#place === 'body' || this.#place === 'tag';
      this.#place = 'between';
      if (isFrame) emit(data.subarray(start, end), this.#kind);
      start = end;
    }
    this.#keep(data, start);
  }

  /** Skips what may stand between events and tells what begins; returns where. The place stays 'between' at the end. */
  #begin(data: Buffer, from: number): number {
    let at = from;
    for (;;) {
      while (at < data.length && (isSpace(data[at]!) || data[at] === 0)) at++;
      if (at === data.length) return at;
      if (data[at] !== BOM[0]) break;
      if (data.length - at < BOM.length) return at;
      if (!startsWith(data, at, BOM)) break;
      at += BOM.length;
    }
    if (data[at] !== LESS) throw new ProtocolError('not_xml', 'neither an event nor XML at all');
    if (data.length - at >= TOKEN_BYTES) this.#enter(data, at);
    return at;
  }

  #enter(data: Buffer, at: number): void {
    this.#quote = 0;
    if (data[at + 1] === QUESTION) this.#goTo('declaration', 2);
    else if (startsWith(data, at, COMMENT)) this.#goTo('comment', COMMENT.length);
    else if (data[at + 1] === BANG) throw dtdRefused();
    else {
      const isAuth = startsWith(data, at, AUTH_BEGIN);
      const next = data[at + (isAuth ? AUTH_BEGIN : EVENT_BEGIN).length]!;
      const isName = isSpace(next) || next === GREATER || next === SLASH;
      if (!isName || (!isAuth && !startsWith(data, at, EVENT_BEGIN))) {
        throw new ProtocolError('not_event', 'neither <event> nor <auth>');
      }
      this.#kind = isAuth ? 'auth' : 'event';
      this.#goTo('tag', 1);
    }
  }

  #goTo(place: Place, searched: number): void {
    this.#place = place;
    this.#searched = searched;
  }

  /** Returns the position behind the frame; -1 when it is not there yet. */
  #findEnd(data: Buffer, start: number): number {
    if (this.#place === 'declaration') return this.#find(data, start, PI_END);
    if (this.#place === 'comment') return this.#find(data, start, COMMENT_END);
    if (this.#place === 'tag') {
      const end = this.#endOfTag(data, start);
      if (this.#place === 'tag') return end;
    }
    return this.#find(data, start, this.#kind === 'auth' ? AUTH_END : EVENT_END);
  }

  #find(data: Buffer, start: number, text: Buffer): number {
    const at = data.indexOf(text, start + this.#searched);
    if (at >= 0) return at + text.length;
    // The last bytes may be the text's beginning.
    this.#searched = Math.max(this.#searched, data.length - start - text.length + 1);
    return -1;
  }

  /** Looks for the end of the start tag: behind it when it closes the element, else the place becomes 'body'. */
  #endOfTag(data: Buffer, start: number): number {
    let at = start + this.#searched;
    for (; at < data.length; at++) {
      const byte = data[at]!;
      // A `<` is legal nowhere in a tag: this one is broken, and the next </event> is where the stream can be taken up.
      if (byte === LESS || (byte === GREATER && this.#quote === 0)) break;
      if (byte === this.#quote) this.#quote = 0;
      else if (this.#quote === 0 && (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE)) this.#quote = byte;
    }
    this.#searched = at - start;
    if (at === data.length) return -1;
    if (data[at] === GREATER && data[at - 1] === SLASH) return at + 1;
    this.#place = 'body';
    return -1;
  }

  /** The bytes to look at: those held back, then the chunk. */
  #append(chunk: Buffer): Buffer {
    if (this.#held === 0) return chunk;
    const length = this.#held + chunk.length;
    if (length > this.#store.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#store.length));
      this.#store.copy(grown, 0, 0, this.#held);
      this.#store = grown;
    }
    chunk.copy(this.#store, this.#held);
    this.#held = length;
    return this.#store.subarray(0, length);
  }

  /** Holds back data[start..). What was emitted is never written over. */
  #keep(data: Buffer, start: number): void {
    const rest = data.length - start;
    if (rest > 0 && start === 0 && this.#held > 0) return;
    this.#held = rest;
    if (rest === 0) {
      this.#store = NOTHING;
      return;
    }
    this.#store = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, rest));
    data.copy(this.#store, 0, start);
  }
}

/** A message of the streaming protocol itself (pings, negotiation): it says nothing of the world and goes to nobody else. */
export function isControl(type: string): boolean {
  return type.startsWith('t-x-c-') || type.startsWith('t-x-takp-');
}
