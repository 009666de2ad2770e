// The bytes of the Portal core's node module (github.com/garacil/TopLevelSystem: mod_node.c, core_wire.c), which share nothing with
// the frames of kind `portal` but the first eight. Integers are big-endian; a text is its length in two bytes, then its bytes.
import { createHash } from 'node:crypto';
import { ProtocolError } from '../../lib/errors.ts';
import type { FrameHead } from '../frames.ts';
import {
  MAX_FRAME_BYTES,
  MAX_HANDSHAKE_BYTES,
  MAX_HEADERS,
  MAX_LABELS,
  MAX_NAME_BYTES,
  MAX_PATH_BYTES,
} from './limits.ts';

const MAGIC = Buffer.from('PORTAL02');
const KEY_BYTES = 32;
const NO_KEY = Buffer.alloc(KEY_BYTES);

/** Numbers of the methods. */
export const METHOD = { get: 1, set: 2, call: 3, event: 4, sub: 5, unsub: 6, meta: 7 } as const;

export interface MeshRequest {
  readonly id: bigint;
  readonly method: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface MeshResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What a node says of itself before anything else. */
export interface Greeting {
  readonly name: string;
  /** SHA-256 of its key; all zero: it has none. */
  readonly keyHash: Buffer;
}

/** SHA-256 of the key; 32 zero bytes without one. Whoever sees it can use it: it is as good as the key. */
export function keyHashOf(key: string | undefined): Buffer {
  return key === undefined ? NO_KEY : createHash('sha256').update(key).digest();
}

/** Our handshake: no peers are advertised. */
export function greetingBytes({ name, keyHash }: Greeting): Buffer {
  const text = Buffer.from(name);
  const bytes = Buffer.alloc(MAGIC.length + KEY_BYTES + 4 + text.length);
  MAGIC.copy(bytes);
  keyHash.copy(bytes, MAGIC.length);
  bytes.writeUInt16BE(text.length, MAGIC.length + KEY_BYTES);
  text.copy(bytes, MAGIC.length + KEY_BYTES + 2);
  return bytes;
}

/**
 * A handshake at the start of `bytes`, and where it ends; undefined: it is not all here. Throws ProtocolError: `mesh_magic`,
 * `mesh_name`, `mesh_handshake`.
 */
export function readGreeting(bytes: Buffer): { readonly greeting: Greeting; readonly end: number } | undefined {
  const known = Math.min(bytes.length, MAGIC.length);
  if (bytes.compare(MAGIC, 0, known, 0, known) !== 0) {
    throw new ProtocolError('mesh_magic', `not a Portal node: it begins with ${bytes.toString('hex', 0, known)}`);
  }
  const most = bytes.subarray(0, MAX_HANDSHAKE_BYTES);
  const reader = new Reader(most, MAGIC.length, () => new Short());
  try {
    const keyHash = reader.bytes(KEY_BYTES);
    const length = reader.u16();
    if (length === 0 || length > MAX_NAME_BYTES) throw badName();
    const name = reader.bytes(length).toString('latin1');
    if (!/^[A-Za-z0-9._-]+$/.test(name)) throw badName();
    for (let peers = reader.u16(); peers > 0; peers--) reader.bytes(reader.u16());
    return { greeting: { name, keyHash: Buffer.from(keyHash) }, end: reader.at };
  } catch (error) {
    if (!(error instanceof Short)) throw error;
    if (most.length < MAX_HANDSHAKE_BYTES) return undefined;
    throw new ProtocolError('mesh_handshake', `a handshake of more than ${MAX_HANDSHAKE_BYTES} bytes`);
  }
}

function badName(): ProtocolError {
  return new ProtocolError('mesh_name', `a node name is 1 to ${MAX_NAME_BYTES} of A-Z a-z 0-9 . _ -`);
}

/** What stands before every frame. Throws ProtocolError `mesh_length`. */
export const HEAD: FrameHead = {
  bytes: 4,
  lengthOf(bytes, at) {
    const length = bytes.readUInt32BE(at);
    if (length > MAX_FRAME_BYTES) throw new ProtocolError('mesh_length', `a frame of ${length} bytes was announced`);
    return length;
  },
};

/** With its length before it. No identity goes with it: the receiver would put its own in the place. */
export function requestBytes({ id, method, path, headers, body }: MeshRequest): Buffer {
  const head = Buffer.alloc(9);
  head.writeBigUInt64BE(id);
  head[8] = method;
  return framed([head, text(path), headerBytes(headers), u32(body.length), body, Buffer.from([0])]);
}

export function responseBytes({ status, headers, body }: MeshResponse): Buffer {
  return framed([u16(status), headerBytes(headers), u32(body.length), body]);
}

/** A frame without its length. Shares memory with it. Throws ProtocolError `mesh_frame`. */
export function readRequest(frame: Buffer): MeshRequest {
  const reader = new Reader(frame, 0, cutShort);
  const id = reader.u64();
  const method = reader.u8();
  const path = reader.text(MAX_PATH_BYTES);
  const headers = readHeaders(reader);
  const body = reader.bytes(reader.u32());
  if (reader.u8() !== 0) {
    reader.text();
    reader.text();
    reader.bytes(3 * 8 + 2); // trace, parent, time, hops
    for (let labels = reader.count(MAX_LABELS); labels > 0; labels--) reader.text();
  }
  reader.end();
  return { id, method, path, headers, body };
}

/** As readRequest(). */
export function readResponse(frame: Buffer): MeshResponse {
  const reader = new Reader(frame, 0, cutShort);
  const status = reader.u16();
  const headers = readHeaders(reader);
  const body = reader.bytes(reader.u32());
  reader.end();
  if (status < 100 || status > 599) throw new ProtocolError('mesh_frame', `there is no status ${status}`);
  return { status, headers, body };
}

function readHeaders(reader: Reader): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (let count = reader.count(MAX_HEADERS); count > 0; count--) {
    const name = reader.text().toLowerCase();
    headers[name] = reader.text();
  }
  return headers;
}

function headerBytes(headers: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(headers).slice(0, MAX_HEADERS);
  return Buffer.concat([u16(pairs.length), ...pairs.flatMap((pair) => pair.map(text))]);
}

function framed(parts: readonly Buffer[]): Buffer {
  const frame = Buffer.concat(parts);
  return Buffer.concat([u32(frame.length), frame]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value).subarray(0, 0xffff);
  return Buffer.concat([u16(bytes.length), bytes]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** More bytes are needed. */
class Short extends Error {}

function cutShort(): ProtocolError {
  return new ProtocolError('mesh_frame', 'a frame ends before what it says is in it');
}

class Reader {
  at: number;
  readonly #bytes: Buffer;
  readonly #short: () => Error;

  /** `short` makes what is thrown when bytes are missing. */
  constructor(bytes: Buffer, at: number, short: () => Error) {
    this.#bytes = bytes;
    this.at = at;
    this.#short = short;
  }

  bytes(length: number): Buffer {
    const end = this.at + length;
    if (end > this.#bytes.length) throw this.#short();
    const found = this.#bytes.subarray(this.at, end);
    this.at = end;
    return found;
  }

  u8(): number {
    return this.bytes(1)[0]!;
  }

  u16(): number {
    return this.bytes(2).readUInt16BE();
  }

  u32(): number {
    return this.bytes(4).readUInt32BE();
  }

  u64(): bigint {
    return this.bytes(8).readBigUInt64BE();
  }

  text(most = 0xffff): string {
    const length = this.u16();
    if (length > most) throw new ProtocolError('mesh_frame', `a text of ${length} bytes, ${most} at most`);
    return this.bytes(length).toString();
  }

  count(most: number): number {
    const count = this.u16();
    if (count > most) throw new ProtocolError('mesh_frame', `${count} entries, ${most} at most`);
    return count;
  }

  end(): void {
    if (this.at < this.#bytes.length) throw new ProtocolError('mesh_frame', 'a frame goes on behind its end');
  }
}
