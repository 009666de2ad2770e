// A walker over the bytes of an XML element that checks well-formedness while it goes. No tree, no strings: a visitor asks
// for the few attributes it wants.
import { ProtocolError } from '../lib/errors.ts';
import {
  bad,
  checkEncoding,
  decodeAttribute,
  type ElementVisitor,
  isEntity,
  MAX_ATTRIBUTES,
  MAX_DEPTH,
  type StartTag,
  type TagVisitor,
} from './xml.ts';

/** With more attributes than this, names are looked up instead of compared one by one. */
const FEW_ATTRIBUTES = 32;

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const BANG = 0x21;
const DOUBLE_QUOTE = 0x22;
const HASH = 0x23;
const AMPERSAND = 0x26;
const SINGLE_QUOTE = 0x27;
const SLASH = 0x2f;
const SEMICOLON = 0x3b;
const LESS = 0x3c;
const EQUALS = 0x3d;
const GREATER = 0x3e;
const QUESTION = 0x3f;
const BRACKET = 0x5d;
const SMALL_X = 0x78;

// What a byte may be part of; bits of CLASS.
const SPACE = 1;
const NAME_START = 2;
const NAME = 4;
const TEXT = 8;
const VALUE = 16;
const CLASS = classes();

const COMMENT_OPEN = Buffer.from('<!--');
const COMMENT_CLOSE = Buffer.from('-->');
const CDATA_OPEN = Buffer.from('<![CDATA[');
const CDATA_CLOSE = Buffer.from(']]>');
const PI_CLOSE = Buffer.from('?>');
const LONGEST_ENTITY = 4;
const MAX_CODE_POINT = 0x10ffff;

/**
 * Walks one element, or the content of one. Comments, CDATA sections, processing instructions and names beyond ASCII are
 * stepped over and noted in `odd`: a strict parser has to judge them. Everything else is checked to the letter.
 * Not re-entrant.
 */
export class XmlWalker implements StartTag {
  source: Buffer = Buffer.alloc(0);
  valueStart = 0;
  valueEnd = 0;
  /** True when the last walk met something that only a strict parser can judge. */
  odd = false;
  #end = 0;
  #base = 0;
  #depth = 0;
  #nameStart = 0;
  #nameEnd = 0;
  #attributes = 0;
  /** Behind the attribute that was found last. */
  #found = 0;
  /** Bits of the attribute names so far. */
  #seen = 0;
  /** Name start and end of every open element. */
  readonly #open = new Int32Array(2 * MAX_DEPTH);
  /** Name start, name end, value start, value end of every attribute of the tag at hand. */
  readonly #spans = new Int32Array(4 * MAX_ATTRIBUTES);
  /** The names again, of a tag that has many. */
  readonly #many = new Set<string>();

  /**
   * Visits the one element that fills bytes[start..end), which stands at `depth` of its document.
   * Throws ProtocolError `bad_xml`, `bad_utf8`, `bad_reference`, `dtd_refused`, `too_deep` or `too_many_attributes`.
   */
  walkElement(bytes: Buffer, start: number, end: number, visitor: TagVisitor | ElementVisitor, depth = 0): void {
    this.#begin(bytes, start, end, depth);
    const elements = 'tag' in visitor ? visitor : undefined;
    if (bytes[start] !== LESS) throw bad('an element was expected', start);
    let at = this.#startTag(start, visitor, elements);
    while (at < end && this.#depth > depth) at = this.#next(at, visitor, elements);
    if (this.#depth > depth) throw bad('ends inside an element', end);
    if (at < end) throw bad('more follows the end of the element', at);
  }

  /** Visits the elements in bytes[start..end), the content of an element; they stand at `depth`. Same errors. */
  walkContent(bytes: Buffer, start: number, end: number, visitor: TagVisitor | ElementVisitor, depth: number): void {
    this.#begin(bytes, start, end, depth);
    const elements = 'tag' in visitor ? visitor : undefined;
    let at = start;
    while (at < end) at = this.#next(at, visitor, elements);
    if (this.#depth > depth) throw bad('ends inside an element', end);
  }

  is(name: string): boolean {
    return this.#spells(this.#nameStart, this.#nameEnd, name);
  }

  find(attribute: string): boolean {
    // Most are asked for in the order they were written in: the search goes on where the last one ended.
    const spans = this.#spans;
    for (let tried = 0; tried < this.#attributes; tried += 4) {
      const at = this.#found < this.#attributes ? this.#found : 0;
      this.#found = at + 4;
      if (this.#spells(spans[at]!, spans[at + 1]!, attribute)) {
        this.valueStart = spans[at + 2]!;
        this.valueEnd = spans[at + 3]!;
        return true;
      }
    }
    return false;
  }

  get(attribute: string): string | undefined {
    return this.find(attribute) ? valueAt(this.source, this.valueStart, this.valueEnd) : undefined;
  }

  attributes(): ReadonlyMap<string, string> {
    return attributesAt(this.source, this.spans());
  }

  names(): string[] {
    const names: string[] = [];
    for (let at = 0; at < this.#attributes; at += 4) names.push(this.#nameOf(at));
    return names;
  }

  /** Where the tag's attributes lie, for attributesAt() to read them when the tag is gone. */
  spans(): Int32Array {
    return this.#spans.slice(0, this.#attributes);
  }

  #nameOf(slot: number): string {
    return this.source.toString('utf8', this.#spans[slot]!, this.#spans[slot + 1]!);
  }

  #begin(bytes: Buffer, start: number, end: number, depth: number): void {
    checkEncoding(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
    this.source = bytes;
    this.#end = end;
    this.#base = depth;
    this.#depth = depth;
    this.odd = false;
  }

  /** Reads a tag, a stretch of text or an oddity; returns the position behind it. */
  #next(at: number, visitor: TagVisitor, elements: ElementVisitor | undefined): number {
    if (this.source[at] !== LESS) return this.#text(at);
    const kind = this.#byte(at + 1);
    if (kind === SLASH) return this.#endTag(at, elements);
    if (kind === BANG || kind === QUESTION) return this.#oddity(at, kind);
    return this.#startTag(at, visitor, elements);
  }

  #startTag(start: number, visitor: TagVisitor, elements: ElementVisitor | undefined): number {
    if (this.#depth === MAX_DEPTH) throw new ProtocolError('too_deep', `elements nest deeper than ${MAX_DEPTH}`);
    const nameEnd = this.#name(start + 1);
    this.#attributes = 0;
    this.#found = 0;
    this.#seen = 0;
    let at = nameEnd;
    for (;;) {
      const next = this.#space(at);
      const byte = this.#byte(next);
      if (byte === GREATER || byte === SLASH) {
        at = next;
        break;
      }
      if (next === at) throw bad('no space before an attribute', at);
      at = this.#attribute(next);
    }
    const empty = this.source[at] === SLASH;
    if (empty && this.#byte(++at) !== GREATER) throw bad('/ inside a tag', at);
    at++;
    this.#nameStart = start + 1;
    this.#nameEnd = nameEnd;
    visitor.open(this, this.#depth);
    elements?.tag(start, at, empty, this.#depth);
    if (!empty) {
      const slot = 2 * this.#depth++;
      this.#open[slot] = start + 1;
      this.#open[slot + 1] = nameEnd;
    }
    return at;
  }

  #endTag(start: number, elements: ElementVisitor | undefined): number {
    if (this.#depth === this.#base) throw bad('end tag without a start', start);
    const depth = --this.#depth;
    const name = this.#open[2 * depth]!;
    const length = this.#open[2 * depth + 1]! - name;
    for (let i = 0; i < length; i++) {
      if (this.source[start + 2 + i] !== this.source[name + i]) throw bad('end tag of another element', start);
    }
    const close = this.#space(start + 2 + length);
    if (this.#byte(close) !== GREATER) throw bad('end tag of another element', start);
    elements?.close(start, close + 1, depth);
    return close + 1;
  }

  #attribute(start: number): number {
    const nameEnd = this.#name(start);
    const equals = this.source[nameEnd] === EQUALS ? nameEnd : this.#space(nameEnd);
    if (this.#byte(equals) !== EQUALS) throw bad('attribute without a value', start);
    const open = this.source[equals + 1]! > 0x20 ? equals + 1 : this.#space(equals + 1);
    const quote = this.#byte(open);
    if (quote !== DOUBLE_QUOTE && quote !== SINGLE_QUOTE) throw bad('attribute value without quotes', open);
    const close = this.#value(open + 1, quote);
    if (this.#attributes >= 4 * FEW_ATTRIBUTES) this.#refuseDuplicateOfMany(start, nameEnd);
    else {
      // Names that share no bit with an earlier one cannot repeat it.
      const bit = 1 << ((this.source[start]! + 5 * (nameEnd - start)) & 31);
      if ((this.#seen & bit) !== 0) this.#refuseDuplicate(start, nameEnd);
      this.#seen |= bit;
    }
    const slot = this.#attributes;
    if (slot === this.#spans.length) {
      throw new ProtocolError('too_many_attributes', `more than ${MAX_ATTRIBUTES} attributes`);
    }
    this.#spans[slot] = start;
    this.#spans[slot + 1] = nameEnd;
    this.#spans[slot + 2] = open + 1;
    this.#spans[slot + 3] = close;
    this.#attributes = slot + 4;
    return close + 1;
  }

  /** Compares the name at hand with those before it. */
  #refuseDuplicate(start: number, end: number): void {
    const { source } = this;
    const spans = this.#spans;
    const length = end - start;
    for (let at = 0; at < this.#attributes; at += 4) {
      const other = spans[at]!;
      if (spans[at + 1]! - other !== length) continue;
      let i = 0;
      while (i < length && source[start + i] === source[other + i]) i++;
      if (i === length) throw bad('attribute given twice', start);
    }
  }

  /** The same for a tag of many attributes. */
  #refuseDuplicateOfMany(start: number, end: number): void {
    if (this.#attributes === 4 * FEW_ATTRIBUTES) {
      this.#many.clear();
      for (let at = 0; at < this.#attributes; at += 4) this.#many.add(this.#nameOf(at));
    }
    const name = this.source.toString('utf8', start, end);
    if (this.#many.has(name)) throw bad('attribute given twice', start);
    this.#many.add(name);
  }

  /** Returns the position of the closing quote. */
  #value(start: number, quote: number): number {
    const { source } = this;
    const end = this.#end;
    let at = start;
    for (;;) {
      while (at < end && (CLASS[source[at]!]! & VALUE) !== 0) at++;
      const byte = this.#byte(at);
      if (byte === quote) return at;
      if (byte === AMPERSAND) at = this.#reference(at);
      else if (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE) at++;
      else throw bad('character not allowed in an attribute value', at);
    }
  }

  /** Returns the position of the next `<`, or the end. */
  #text(start: number): number {
    const { source } = this;
    const end = this.#end;
    let at = start;
    for (;;) {
      while (at < end && (CLASS[source[at]!]! & TEXT) !== 0) at++;
      if (at === end || source[at] === LESS) return at;
      if (source[at] === AMPERSAND) at = this.#reference(at);
      else if (source[at] !== BRACKET) throw bad('character not allowed in text', at);
      else if (this.#byte(at + 1) === BRACKET && this.#byte(at + 2) === GREATER) throw bad(']]> in text', at);
      else at++;
    }
  }

  /** Checks the reference at `start` and returns the position behind it. */
  #reference(start: number): number {
    if (this.#byte(start + 1) === HASH) return this.#numeric(start);
    for (let at = start + 2; at <= start + 1 + LONGEST_ENTITY; at++) {
      if (this.#byte(at) !== SEMICOLON) continue;
      if (isEntity(this.source.toString('latin1', start + 1, at))) return at + 1;
      break;
    }
    throw new ProtocolError('bad_reference', `unknown reference at byte ${start}`);
  }

  #numeric(start: number): number {
    const hex = this.#byte(start + 2) === SMALL_X;
    const first = start + (hex ? 3 : 2);
    let at = first;
    let code = 0;
    for (; this.#byte(at) !== SEMICOLON; at++) {
      const digit = digitOf(this.#byte(at));
      if (digit >= (hex ? 16 : 10)) throw new ProtocolError('bad_reference', `broken reference at byte ${start}`);
      code = Math.min(code * (hex ? 16 : 10) + digit, MAX_CODE_POINT + 1);
    }
    if (at === first || !isCharacter(code)) {
      throw new ProtocolError('bad_reference', `no such character at byte ${start}`);
    }
    return at + 1;
  }

  /** Steps over a comment, CDATA section or processing instruction. */
  #oddity(start: number, kind: number): number {
    this.odd = true;
    if (kind === QUESTION) return this.#behind(PI_CLOSE, start + 2);
    if (this.#startsWith(COMMENT_OPEN, start)) return this.#behind(COMMENT_CLOSE, start + COMMENT_OPEN.length);
    if (this.#startsWith(CDATA_OPEN, start)) return this.#behind(CDATA_CLOSE, start + CDATA_OPEN.length);
    throw new ProtocolError('dtd_refused', 'document type and entity declarations are not accepted');
  }

  #behind(closing: Buffer, from: number): number {
    const at = this.source.indexOf(closing, from);
    if (at < 0 || at + closing.length > this.#end)
      throw bad('ends inside a comment, CDATA section or instruction', from);
    return at + closing.length;
  }

  #startsWith(text: Buffer, at: number): boolean {
    for (let i = 0; i < text.length; i++) if (this.#byte(at + i) !== text[i]) return false;
    return true;
  }

  /** Returns the position behind the name at `start`. */
  #name(start: number): number {
    const { source } = this;
    const end = this.#end;
    if (start >= end || (CLASS[source[start]!]! & NAME_START) === 0) throw bad('a name was expected', start);
    let high = source[start]!;
    let at = start + 1;
    while (at < end && (CLASS[source[at]!]! & NAME) !== 0) high |= source[at++]!;
    if (high >= 0x80) this.odd = true;
    return at;
  }

  #space(start: number): number {
    const { source } = this;
    const end = this.#end;
    let at = start;
    while (at < end && (CLASS[source[at]!]! & SPACE) !== 0) at++;
    return at;
  }

  /** The byte at a position; 0, which XML allows nowhere, behind the end. */
  #byte(at: number): number {
    return at < this.#end ? this.source[at]! : 0;
  }

  #spells(start: number, end: number, text: string): boolean {
    if (end - start !== text.length) return false;
    const { source } = this;
    for (let i = 0; i < text.length; i++) if (source[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }
}

/** The attributes at the places that XmlWalker.spans() gave, decoded, in document order. */
export function attributesAt(source: Buffer, spans: Int32Array): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>();
  for (let at = 0; at < spans.length; at += 4) {
    const name = source.toString('utf8', spans[at]!, spans[at + 1]!);
    attributes.set(name, valueAt(source, spans[at + 2]!, spans[at + 3]!));
  }
  return attributes;
}

function valueAt(source: Buffer, start: number, end: number): string {
  for (let at = start; at < end; at++) {
    const byte = source[at]!;
    if (byte < 0x20 || byte > 0x7e || byte === AMPERSAND) return decodeAttribute(source.toString('utf8', start, end));
  }
  // A copy: a substring of one long string would keep all of it in memory.
  return source.toString('latin1', start, end);
}

/** XML 1.0 production 2, Char. */
function isCharacter(code: number): boolean {
  if (code < 0x20) return code === TAB || code === LF || code === CR;
  return code < 0xd800 || (code > 0xdfff && code < 0xfffe) || (code > 0xffff && code <= MAX_CODE_POINT);
}

/** The value of a hexadecimal digit; 16 for any other byte. */
function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : 16;
}

function classes(): Uint8Array {
  const table = new Uint8Array(256);
  const mark = (from: number, to: number, bits: number) => {
    for (let byte = from; byte <= to; byte++) table[byte]! |= bits;
  };
  mark(0x20, 0xff, TEXT | VALUE);
  for (const byte of [TAB, LF, CR]) mark(byte, byte, SPACE | TEXT | VALUE);
  mark(0x20, 0x20, SPACE);
  for (const [from, to] of ['az', 'AZ', '__', '::'] as const) mark(code(from), code(to), NAME_START | NAME);
  for (const [from, to] of ['09', '--', '..'] as const) mark(code(from), code(to), NAME);
  mark(0x80, 0xff, NAME_START | NAME);
  for (const byte of [LESS, AMPERSAND, BRACKET]) table[byte]! &= ~TEXT;
  for (const byte of [LESS, AMPERSAND, DOUBLE_QUOTE, SINGLE_QUOTE]) table[byte]! &= ~VALUE;
  return table;
}

function code(letter: string | undefined): number {
  return letter!.charCodeAt(0);
}
