// Protobuf primitives: a reader over one slice of bytes and a writer into a growing buffer. No schema, no reflection: the
// callers' switch statements are the schema. (protobuf.dev/programming-guides/encoding)
import { isUtf8 } from 'node:buffer';
import { ProtocolError } from '../lib/errors.ts';
import { asciiAt, isAsciiAt } from './strings.ts';

/** Wire types in use. 3 and 4 (groups) ended with proto2 and are refused. */
export const WIRE = { varint: 0, fixed64: 1, length: 2, fixed32: 5 } as const;

/** What tag() returns for a varint field. */
export const varintTag = (field: number): number => field * 8 + WIRE.varint;
/** What tag() returns for a double or fixed64 field. */
export const fixed64Tag = (field: number): number => field * 8 + WIRE.fixed64;
/** What tag() returns for a string, bytes or message field. */
export const lengthTag = (field: number): number => field * 8 + WIRE.length;

const MAX_VARINT_BYTES = 10;
const TWO_32 = 0x1_0000_0000;
const MAX_TAG = 0xffff_ffff;
/** High words between these hold every safe integer: 2^53 = 2^21 * 2^32. */
const SAFE_HIGH = 0x20_0000;
/** Below this many bytes a loop is cheaper than a call into native code. */
const SHORT = 48;

/**
 * Reads protobuf fields in wire order. Every length is checked against `end` before it is believed.
 * Throws ProtocolError `proto_truncated`, `proto_length`, `proto_varint`, `proto_tag`, `proto_wire_type`, `too_long` or
 * `bad_utf8`.
 */
export class ProtoReader {
  readonly buffer: Buffer;
  pos: number;
  end: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.buffer = bytes;
    this.pos = start;
    this.end = end;
  }

  more(): boolean {
    return this.pos < this.end;
  }

  /** The next field's number and wire type: field * 8 + type. */
  tag(): number {
    const tag = this.varint();
    if (tag < 8 || tag > MAX_TAG) throw new ProtocolError('proto_tag', `field tag ${tag} is out of range`);
    return tag;
  }

  /** An unsigned integer up to 2^53 - 1; more is an error. */
  varint(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const second = this.#byte();
    if (second < 0x80) return (first & 0x7f) | (second << 7);
    let value = (first & 0x7f) | ((second & 0x7f) << 7);
    let scale = 0x4000;
    for (let count = 2; count < MAX_VARINT_BYTES; count++) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new ProtocolError('proto_varint', 'integer beyond 2^53');
        return value;
      }
      scale *= 0x80;
    }
    throw tooLong();
  }

  /** A signed 64-bit integer (int64, int32, enum); what a double cannot hold is clamped to the safe range. */
  int64(): number {
    const { buffer, end } = this;
    let at = this.pos;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 7 * MAX_VARINT_BYTES; shift += 7) {
      if (at >= end) throw truncated();
      const byte = buffer[at++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift > 28) high |= bits << (shift - 32);
      else {
        low |= bits << 28;
        high = bits >>> 4;
      }
      if (byte < 0x80) {
        this.pos = at;
        return joinInt64(high, low >>> 0);
      }
    }
    throw tooLong();
  }

  double(): number {
    const at = this.#advance(8);
    return this.buffer.readDoubleLE(at);
  }

  /** The content of a length-delimited field; shares memory with the input. */
  bytes(): Buffer {
    const length = this.length();
    const at = this.#advance(length);
    return this.buffer.subarray(at, at + length);
  }

  /** A string of at most `maxBytes` (`too_long`). */
  string(maxBytes = Number.MAX_SAFE_INTEGER): string {
    const length = this.length();
    if (length > maxBytes) throw new ProtocolError('too_long', `string of ${length} bytes, ${maxBytes} at most`);
    const at = this.#advance(length);
    const known = asciiAt(this.buffer, at, length);
    if (known !== undefined) return known;
    const text = this.buffer.toString('utf8', at, at + length);
    // The decoder writes U+FFFD for what is not UTF-8; only then is it worth asking whether the sender wrote it himself.
    if (text.includes('\ufffd')) this.#mustBeUtf8(at, at + length);
    return text;
  }

  /** Passes a string that nobody here needs, but that strict receivers behind us will check. Returns where it starts. */
  skipString(): number {
    const length = this.length();
    const at = this.#advance(length);
    if (length > SHORT || !isAsciiAt(this.buffer, at, length)) this.#mustBeUtf8(at, at + length);
    return at;
  }

  /** Reads a length prefix and checks that so many bytes are there. The position stays before the content. */
  length(): number {
    const length = this.varint();
    if (length > this.end - this.pos) {
      throw new ProtocolError('proto_length', `length ${length} with ${this.end - this.pos} bytes left`);
    }
    return length;
  }

  /** Narrows the reader to the nested message that starts here. Returns the outer end, for leave(). */
  enter(): number {
    const length = this.length();
    const outer = this.end;
    this.end = this.pos + length;
    return outer;
  }

  /** Goes on behind the nested message, whether it was read to its end or not. */
  leave(outer: number): void {
    this.pos = this.end;
    this.end = outer;
  }

  /** Passes the value of a field of this wire type (a whole tag will do). */
  skip(wireType: number): void {
    const type = wireType & 7;
    if (type === WIRE.varint) this.#skipVarint();
    else if (type === WIRE.length) this.#advance(this.length());
    else if (type === WIRE.fixed64) this.#advance(8);
    else if (type === WIRE.fixed32) this.#advance(4);
    else throw new ProtocolError('proto_wire_type', `wire type ${type} is not supported`);
  }

  #skipVarint(): void {
    for (let count = 0; count < MAX_VARINT_BYTES; count++) {
      if (this.#byte() < 0x80) return;
    }
    throw tooLong();
  }

  #byte(): number {
    if (this.pos >= this.end) throw truncated();
    return this.buffer[this.pos++]!;
  }

  /** Steps over `count` bytes and returns where they start. */
  #advance(count: number): number {
    const at = this.pos;
    if (count > this.end - at) throw truncated();
    this.pos = at + count;
    return at;
  }

  #mustBeUtf8(start: number, end: number): void {
    if (!isUtf8(this.buffer.subarray(start, end))) throw new ProtocolError('bad_utf8', 'string is not UTF-8');
  }
}

function truncated(): ProtocolError {
  return new ProtocolError('proto_truncated', 'message ends inside a field');
}

function tooLong(): ProtocolError {
  return new ProtocolError('proto_varint', 'varint longer than 10 bytes');
}

/** Two's complement words to a number, clamped to the safe range. `high` carries the sign bit as its bit 31. */
function joinInt64(high: number, low: number): number {
  const signed = high | 0;
  if (signed >= SAFE_HIGH) return Number.MAX_SAFE_INTEGER;
  if (signed < -SAFE_HIGH) return Number.MIN_SAFE_INTEGER;
  return Math.max(signed * TWO_32 + low, Number.MIN_SAFE_INTEGER);
}

/** Bytes that writeVarint takes for a non-negative safe integer. */
export function varintLength(n: number): number {
  let length = 1;
  for (let rest = n; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** Writes a non-negative safe integer at `at`; returns the position behind it. The room must be there. */
export function writeVarint(target: Uint8Array, at: number, n: number): number {
  let rest = n;
  let pos = at;
  while (rest >= 0x8000_0000) {
    target[pos++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  while (rest >= 0x80) {
    target[pos++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[pos++] = rest;
  return pos;
}

const FIRST_CAPACITY = 1024;
/** A buffer grown beyond this is not kept for the next message. */
const KEEP_CAPACITY = 256 * 1024;
/** Room for a tag and a varint or a length. */
const HEAD = 5 + MAX_VARINT_BYTES;

/**
 * Writes fields in call order. One writer serves many messages: finish() copies the message out and starts anew.
 * int, bool, double and string leave out proto3's default value (0, false, ''); bytes, message and raw always write.
 */
export class ProtoWriter {
  #buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY);
  #pos = 0;

  /** int32, int64, enum: a safe integer; negative numbers take 10 bytes. */
  int(field: number, n: number): void {
    if (n === 0) return;
    if (!Number.isSafeInteger(n)) throw new RangeError(`field ${field}: ${n} is not a safe integer`);
    this.#head(varintTag(field), 0);
    this.#pos = n > 0 ? writeVarint(this.#buffer, this.#pos, n) : writeNegative(this.#buffer, this.#pos, n);
  }

  bool(field: number, value: boolean): void {
    if (value) this.int(field, 1);
  }

  double(field: number, n: number): void {
    if (!Object.is(n, 0)) this.presentDouble(field, n);
  }

  /** A double that is written even when it is 0, for readers that tell zero from absent. */
  presentDouble(field: number, n: number): void {
    this.#head(fixed64Tag(field), 8);
    this.#pos = this.#buffer.writeDoubleLE(n, this.#pos);
  }

  string(field: number, text: string): void {
    if (text === '') return;
    const length = Buffer.byteLength(text);
    this.#head(lengthTag(field), length);
    this.#pos = writeVarint(this.#buffer, this.#pos, length);
    this.#pos += this.#buffer.write(text, this.#pos);
  }

  /** A bytes field, or a nested message that is encoded already. */
  bytes(field: number, content: Uint8Array): void {
    this.#head(lengthTag(field), content.length);
    this.#pos = writeVarint(this.#buffer, this.#pos, content.length);
    this.#buffer.set(content, this.#pos);
    this.#pos += content.length;
  }

  /** A nested message made of what `write` puts into this same writer. */
  message(field: number, write: (writer: ProtoWriter) => void): void {
    this.#head(lengthTag(field), 0);
    const start = this.#pos;
    write(this);
    const length = this.#pos - start;
    this.#reserve(HEAD);
    this.#buffer.copyWithin(start + varintLength(length), start, this.#pos);
    this.#pos = writeVarint(this.#buffer, start, length) + length;
  }

  /** Bytes start..end of `fields`: whole fields already. */
  raw(fields: Buffer, start = 0, end = fields.length): void {
    this.#reserve(end - start);
    this.#pos += fields.copy(this.#buffer, this.#pos, start, end);
  }

  /** The message, in memory of its own. The writer is empty again. */
  finish(): Buffer {
    const message = Buffer.allocUnsafe(this.#pos);
    this.#buffer.copy(message, 0, 0, this.#pos);
    this.reset();
    return message;
  }

  /** Forgets what was written, for a writer whose message failed half way. */
  reset(): void {
    this.#pos = 0;
    if (this.#buffer.length > KEEP_CAPACITY) this.#buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY);
  }

  /** Writes the tag and makes room for `content` bytes behind it. */
  #head(tag: number, content: number): void {
    this.#reserve(HEAD + content);
    this.#pos = writeVarint(this.#buffer, this.#pos, tag);
  }

  #reserve(more: number): void {
    const needed = this.#pos + more;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#pos);
    this.#buffer = grown;
  }
}

/** A negative int64 in two's complement: always 10 bytes, the last one 1. */
function writeNegative(target: Uint8Array, at: number, n: number): number {
  let rest = n;
  for (let pos = at; pos < at + MAX_VARINT_BYTES - 1; pos++) {
    const bits = ((rest % 0x80) + 0x80) % 0x80;
    target[pos] = bits | 0x80;
    rest = (rest - bits) / 0x80;
  }
  target[at + MAX_VARINT_BYTES - 1] = 1;
  return at + MAX_VARINT_BYTES;
}
