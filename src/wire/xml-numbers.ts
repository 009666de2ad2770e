// XML as PORTAL02 shortens it: attribute values that are numbers or times, which deflate cannot shorten, told as numbers. Two
// forms, both giving back every byte: `shrunk` stands alone, the numbers in their places in the text; `delta` tells only
// what changed since an earlier text that had everything but its numbers in common (links/portal/README.md, Packing).
import { ProtocolError } from '../lib/errors.ts';
import { varintLength, writeVarint } from './proto.ts';

/** One attribute's value: `scaled` / 10^`digits`; times in units of 10^-digits seconds since the epoch. */
interface Value {
  readonly kind: 'number' | 'time';
  readonly digits: number;
  readonly scaled: number;
  readonly text: string;
}

/** A text taken apart. */
export interface Numbers {
  /** MARK for each value. */
  readonly skeleton: string;
  readonly values: readonly Value[];
}

/** XML 1.0 has no use for them. */
const MARK = '\x01';
const MARK_BYTE = 1;
const TIME_BYTE = 2;
/** Characters with a meaning of their own here, and what could stand for them. */
const RESERVED = /[\x00-\x08]/;
const ATTRIBUTE = /=(["'])(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z|-?\d+(?:\.\d{1,20})?)\1/g;

/** Values fit so that twice their differences are exact. */
const MAX_SCALED = 2 ** 49;
/** Times end with the year 9999. */
const MAX_TIME = 2 ** 48;
const MAX_DIGITS = 15;
const TIME_DIGITS = 3;
/** Values of one text. */
export const MAX_VALUES = 64;
/** A float that needs more bytes than this as a difference goes as the four it is. */
const FLOAT_BYTES = 4;
/** Shorter values are left to deflate, and so are those that stand for "not known". */
const SHORT_VALUE = 5;
const UNKNOWN = /^9999999/;

/** What an odd first number says follows: so many digits and the value, or one of these. */
const FLOAT = MAX_DIGITS + 1;
const DOUBLE = MAX_DIGITS + 2;

const NOTHING: Value = { kind: 'number', digits: 0, scaled: 0, text: '' };

/** Takes a text (as latin1) apart; undefined: it cannot be. */
export function numbersOf(text: string): Numbers | undefined {
  if (RESERVED.test(text)) return undefined;
  const values: Value[] = [];
  const skeleton = text.replace(ATTRIBUTE, (whole, quote: string, found: string) => {
    const value = values.length < MAX_VALUES ? valueIn(found) : undefined;
    if (!value) return whole;
    values.push(value);
    return `=${quote}${MARK}${quote}`;
  });
  return { skeleton, values };
}

/** The text again. */
export function textOf({ skeleton, values }: Numbers): string {
  let index = 0;
  return skeleton.replaceAll(MARK, () => values[index++]!.text);
}

function valueIn(text: string): Value | undefined {
  const value = text.includes('T') ? timeOf(text) : numberOf(text);
  return value && printed(value) === text ? value : undefined;
}

function timeOf(text: string): Value | undefined {
  const digits = text.includes('.') ? TIME_DIGITS : 0;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : { kind: 'time', digits, scaled: digits === 0 ? ms / 1000 : ms, text };
}

function numberOf(text: string): Value | undefined {
  const point = text.indexOf('.');
  const digits = point < 0 ? 0 : text.length - point - 1;
  const scaled = Number(point < 0 ? text : text.slice(0, point) + text.slice(point + 1));
  if (Math.abs(scaled) < MAX_SCALED && digits <= MAX_DIGITS) return { kind: 'number', digits, scaled, text };
  // As many digits as a double has: told as one.
  return point >= 0 && doubleText(Number(text)) === text
    ? { kind: 'number', digits: DOUBLE, scaled: Number(text), text }
    : undefined;
}

function printed({ kind, digits, scaled }: Value): string {
  if (digits === DOUBLE) return doubleText(scaled);
  if (kind === 'time') {
    const text = new Date(digits === 0 ? scaled * 1000 : scaled).toISOString();
    return digits === 0 ? text.replace('.000Z', 'Z') : text;
  }
  if (digits === 0) return String(scaled);
  const figures = String(Math.abs(scaled)).padStart(digits + 1, '0');
  return `${scaled < 0 ? '-' : ''}${figures.slice(0, -digits)}.${figures.slice(-digits)}`;
}

/** As Java and most others print a double: a decimal at least. */
function doubleText(n: number): string {
  return Number.isInteger(n) && Math.abs(n) < 1e7 ? `${n}.0` : String(n);
}

// --- one value beside another --------------------------------------------------------------------------------------

/** Bytes in the making. */
class Bytes {
  #bytes = Buffer.allocUnsafe(256);
  #at = 0;

  varint(n: number): void {
    this.#reserve(10);
    this.#at = writeVarint(this.#bytes, this.#at, n);
  }

  float(n: number): void {
    this.#reserve(4);
    this.#at = this.#bytes.writeFloatLE(n, this.#at);
  }

  double(n: number): void {
    this.#reserve(8);
    this.#at = this.#bytes.writeDoubleLE(n, this.#at);
  }

  text(latin1: string): void {
    this.#reserve(latin1.length);
    this.#at += this.#bytes.write(latin1, this.#at, 'latin1');
  }

  byte(byte: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = byte;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(2 * (this.#at + more));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

/**
 * First number even: half of it is the difference in units of the last digit, folded; the digits stay. Odd: half of it is the
 * new count of digits and the folded value follows, or FLOAT and four bytes, or DOUBLE and eight.
 */
function writeValue(to: Bytes, value: Value, beside: Value): void {
  if (value.digits === DOUBLE && !isFloat(value)) {
    to.varint(2 * DOUBLE + 1);
    return to.double(value.scaled);
  }
  const stays = value.digits === beside.digits;
  const folded = stays ? 2 * fold(value.scaled - beside.scaled) : fold(value.scaled);
  if (value.kind === 'number' && (value.digits === DOUBLE || varintLength(folded) > FLOAT_BYTES) && isFloat(value)) {
    to.varint(2 * FLOAT + 1);
    return to.float(Number(value.text));
  }
  if (!stays) to.varint(2 * value.digits + 1);
  to.varint(folded);
}

function readValue(from: Reader, beside: Value): Value {
  const first = from.varint();
  if (first % 2 === 0) return made(beside.kind, beside.digits, beside.scaled + unfold(first / 2));
  const digits = (first - 1) / 2;
  if (digits === FLOAT) return ofText(doubleText(Math.fround(from.float())));
  if (digits === DOUBLE) return ofText(doubleText(from.double()));
  return made(beside.kind, digits, unfold(from.varint()));
}

/** Printed as a double, as Android prints what it has as a float. */
function isFloat({ text }: Value): boolean {
  return text.includes('.') && doubleText(Math.fround(Number(text))) === text;
}

/** A value that came in. Throws ProtocolError for one that nobody can have meant. */
function made(kind: Value['kind'], digits: number, scaled: number): Value {
  const isTime = kind === 'time';
  if (isTime ? digits !== 0 && digits !== TIME_DIGITS : digits > MAX_DIGITS) throw nonsense();
  const most = isTime ? (digits === 0 ? MAX_TIME / 1000 : MAX_TIME) : MAX_SCALED;
  if (Math.abs(scaled) >= most || Object.is(scaled, -0)) throw nonsense();
  return { kind, digits, scaled, text: printed({ kind, digits, scaled, text: '' }) };
}

function ofText(text: string): Value {
  const value = /^-?\d+\.\d{1,20}$/.test(text) ? numberOf(text) : undefined;
  if (!value) throw nonsense();
  return value;
}

function nonsense(): ProtocolError {
  return new ProtocolError('packed_value', 'a packed value that is no number');
}

/** 0, -1, 1, -2 … to 0, 1, 2, 3 … */
function fold(n: number): number {
  return n < 0 ? -2 * n - 1 : 2 * n;
}

function unfold(n: number): number {
  return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
}

/** Where a time is expected when the first one of its text was at `first`: as far from it as it was before. */
function expected(before: Value, firstBefore: Value | undefined, first: Value | undefined): Value {
  if (before.kind !== 'time' || !first || !firstBefore) return before;
  if (first.digits !== before.digits || firstBefore.digits !== before.digits) return before;
  return { ...before, scaled: before.scaled + first.scaled - firstBefore.scaled };
}

// --- delta -----------------------------------------------------------------------------------------------------------

/** What differs from `before`: which values (a bit each, lowest first; left out when `usual`, the ones of last time) and by how much. */
export interface Delta {
  readonly mask: Buffer;
  readonly bytes: Buffer;
}

/** undefined: the two have not everything but their numbers in common. */
export function deltaOf(now: Numbers, before: Numbers): Delta | undefined {
  if (now.skeleton !== before.skeleton) return undefined;
  const mask = Buffer.alloc((now.values.length + 7) >> 3);
  const to = new Bytes();
  for (const [index, guess] of guesses(before, now.values)) {
    const value = now.values[index]!;
    if (value.kind !== guess.kind) return undefined;
    if (value.digits === guess.digits && value.scaled === guess.scaled) continue;
    mask[index >> 3]! |= 1 << (index & 7);
    writeValue(to, value, guess);
  }
  return { mask, bytes: to.finish() };
}

/** The values `bytes` tells of beside `before`. Throws ProtocolError. */
export function applyDelta(before: Numbers, mask: Buffer, bytes: Buffer): Numbers {
  const from = new Reader(bytes);
  const values: Value[] = [];
  for (const [index, guess] of guesses(before, values)) {
    const isTold = (mask[index >> 3]! >> (index & 7)) & 1;
    values.push(
      isTold ? readValue(from, guess) : guess.text === '' ? made(guess.kind, guess.digits, guess.scaled) : guess,
    );
  }
  if (from.left > 0) throw new ProtocolError('packed_length', 'a packed record with bytes too many');
  return { skeleton: before.skeleton, values };
}

/** For each value what it would be if nothing had changed but the time. `now` may still be growing. */
function* guesses(before: Numbers, now: readonly Value[]): Generator<readonly [number, Value]> {
  let first: number | undefined;
  for (let index = 0; index < before.values.length; index++) {
    const old = before.values[index]!;
    if (first === undefined || old.kind !== 'time') yield [index, old];
    else {
      const guess = expected(old, before.values[first], now[first]);
      yield [index, guess === old ? old : { ...guess, text: '' }];
    }
    if (old.kind === 'time') first ??= index;
  }
}

// --- shrunk ----------------------------------------------------------------------------------------------------------

/** The text with its longer values as numbers: MARK and a number, or TIME and the distance from the time before. `timeMs`: of the last text. */
export function shrunk(text: string, timeMs: number): { readonly bytes: Buffer; readonly timeMs: number } | undefined {
  if (RESERVED.test(text)) return undefined;
  const to = new Bytes();
  let last: Value = made('time', TIME_DIGITS, timeMs);
  let first: Value | undefined;
  let done = 0;
  for (const match of text.matchAll(ATTRIBUTE)) {
    const found = match[2]!;
    const value = isWorth(found) ? valueIn(found) : undefined;
    if (!value) continue;
    const at = match.index + 2;
    to.text(text.slice(done, at));
    done = at + found.length;
    if (value.kind === 'time') {
      to.byte(TIME_BYTE);
      writeValue(to, value, last);
      last = value;
      first ??= value;
    } else {
      to.byte(MARK_BYTE);
      writeValue(to, value, NOTHING);
    }
  }
  to.text(text.slice(done));
  return { bytes: to.finish(), timeMs: first ? msOf(first) : timeMs };
}

/** The text that shrunk() had. Throws ProtocolError. */
export function unshrunk(
  bytes: Buffer,
  timeMs: number,
  maxBytes: number,
): { readonly text: string; readonly timeMs: number } {
  const from = new Reader(bytes);
  const parts: string[] = [];
  let size = 0;
  let last: Value = made('time', TIME_DIGITS, timeMs);
  let first: Value | undefined;
  while (from.left > 0) {
    const part = from.until(TIME_BYTE);
    parts.push(part);
    size += part.length;
    if (from.left > 0) {
      const isTime = from.byte() === TIME_BYTE;
      const value = readValue(from, isTime ? last : NOTHING);
      parts.push(value.text);
      size += value.text.length;
      if (isTime) {
        last = value;
        first ??= value;
      }
    }
    if (size > maxBytes) throw new ProtocolError('packed_size', `a packed record of more than ${maxBytes} bytes`);
  }
  return { text: parts.join(''), timeMs: first ? msOf(first) : timeMs };
}

function isWorth(text: string): boolean {
  return text.length >= SHORT_VALUE && !UNKNOWN.test(text);
}

function msOf({ digits, scaled }: Value): number {
  return digits === 0 ? scaled * 1000 : scaled;
}

/** Reads what Bytes writes. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 56; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80 && value <= Number.MAX_SAFE_INTEGER) return value;
    }
    throw nonsense();
  }

  float(): number {
    return this.#bytes.readFloatLE(this.#take(4));
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  /** Everything before the next byte that is not greater than `byte`. */
  until(byte: number): string {
    const start = this.#at;
    while (this.#at < this.#bytes.length && this.#bytes[this.#at]! > byte) this.#at++;
    return this.#bytes.toString('latin1', start, this.#at);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.left) throw new ProtocolError('packed_length', 'a packed record that ends too early');
    this.#at += count;
    return at;
  }
}
