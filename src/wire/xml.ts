// XML as CoT uses it: escaping, references, and what a reader of tags hands to a visitor. The readers are xml-walk.ts
// (fast) and xml-strict.ts (a full parser). (www.w3.org/TR/xml, fifth edition)
import { isAscii, isUtf8 } from 'node:buffer';
import { ProtocolError } from '../lib/errors.ts';

/** Elements inside elements, the root included. */
export const MAX_DEPTH = 64;
/** Attributes of one element. The chatgrp of a group chat has one for every member. */
export const MAX_ATTRIBUTES = 512;

/** U+FFFE and U+FFFF in UTF-8, which XML does not allow, share these two bytes. */
const NONCHARACTER = Buffer.from([0xef, 0xbf]);

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
  ['apos', "'"],
]);

const NEEDS_ESCAPE = /[&<>"'\u0000-\u001f\ufffe\uffff\ud800-\udfff]/;
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

/** Text for an attribute value in either quotes, or for content. What XML cannot hold at all becomes U+FFFD. */
export function escapeXml(text: string): string {
  if (!NEEDS_ESCAPE.test(text)) return text;
  return text.toWellFormed().replace(/[&<>"'\u0000-\u001f\ufffe\uffff]/g, (found) => ESCAPES[found] ?? '\ufffd');
}

/** The meaning of a raw attribute value whose references were checked before: white space and references resolved. */
export function decodeAttribute(raw: string): string {
  const spaced = raw.replace(/\r\n|[\t\r\n]/g, ' ');
  return spaced.replace(/&([^;]*);/g, (_, name: string) => ENTITIES.get(name) ?? String.fromCodePoint(codeOf(name)));
}

/** True for the name of one of the five entities that XML has by itself. */
export function isEntity(name: string): boolean {
  return ENTITIES.has(name);
}

/** True for a name that may be written as an attribute or element (ASCII only). */
export function isXmlName(name: string): boolean {
  return /^[A-Za-z_:][A-Za-z0-9_:.-]*$/.test(name);
}

/** Text that XML can hold: no control characters, no noncharacters. */
export function isXmlText(text: string): boolean {
  return !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(text);
}

/** A start tag while it is being visited. */
export interface StartTag {
  is(name: string): boolean;
  /** The decoded value of an attribute; undefined when absent. */
  get(attribute: string): string | undefined;
  /** All attributes, decoded, in document order. */
  attributes(): ReadonlyMap<string, string>;
  /** Their names alone. */
  names(): string[];
  /** Finds the raw bytes of a value: `source` from `valueStart` to `valueEnd`. False when absent. */
  find(attribute: string): boolean;
  readonly source: Buffer;
  readonly valueStart: number;
  readonly valueEnd: number;
}

export interface TagVisitor {
  /** Every start tag; depth 0 is the root. The tag is good for this call only. */
  open(tag: StartTag, depth: number): void;
}

/** A visitor that wants to know where elements lie. All positions are in the walked buffer. */
export interface ElementVisitor extends TagVisitor {
  /** After open(): the tag's own bytes, from `<` to behind `>`. */
  tag(start: number, end: number, empty: boolean, depth: number): void;
  /** At the end of an element that is not empty: from `</` to behind `>`. */
  close(start: number, end: number, depth: number): void;
}

/** Refuses what is not UTF-8, and characters that no XML document may hold. */
export function checkEncoding(bytes: Buffer): void {
  if (isAscii(bytes)) return;
  if (!isUtf8(bytes)) throw new ProtocolError('bad_utf8', 'not UTF-8');
  let at = bytes.indexOf(NONCHARACTER);
  for (; at >= 0; at = bytes.indexOf(NONCHARACTER, at + 2)) {
    if (bytes[at + 2]! >= 0xbe) throw bad('character not allowed', at);
  }
}

/** A ProtocolError for markup that is not well-formed. */
export function bad(words: string, at: number): ProtocolError {
  return new ProtocolError('bad_xml', `${words} (byte ${at})`);
}

function codeOf(reference: string): number {
  return reference[1] === 'x' ? Number.parseInt(reference.slice(2), 16) : Number.parseInt(reference.slice(1), 10);
}
