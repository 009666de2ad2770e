// PORTAL02 frames: an eleven-byte head and a body (links/portal/README.md). What bodies say is portal-bodies.ts.
import { ProtocolError } from '../lib/errors.ts';

/** Frame types. */
export const FRAME = { request: 1, response: 2, event: 3, challenge: 4, answer: 5, ping: 6, pong: 7 } as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

/** magic `PRT\0`, version 0x0002 */
const OPENING = Buffer.from([0x50, 0x52, 0x54, 0x00, 0x00, 0x02]);
const MAGIC_BYTES = 4;
const TYPE_AT = 6;
const LENGTH_AT = 7;
const LAST_TYPE = 7;

export const HEAD_BYTES = 11;
/** The first byte of a frame, by which a listener tells one from a TLS ClientHello. */
export const FIRST_BYTE = OPENING[0]!;

/** First allocation for a body that spans chunks; it doubles as bytes really arrive, so a lying length costs nothing. */
const FIRST_PIECE_BYTES = 4096;

export function portalHead(type: FrameType, bodyLength: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  OPENING.copy(head);
  head[TYPE_AT] = type;
  setBodyLength(head, bodyLength);
  return head;
}

/** Corrects the length in a head. */
export function setBodyLength(head: Buffer, bodyLength: number): void {
  head.writeUInt32BE(bodyLength, LENGTH_AT);
}

/** A whole frame. */
export function portalFrame(type: FrameType, body: Uint8Array = EMPTY): Buffer {
  return Buffer.concat([portalHead(type, body.length), body]);
}

const EMPTY: Buffer = Buffer.alloc(0);

/** Takes a whole frame. The body shares memory with the chunk it came in, when it lay in one. */
export type OnFrame = (type: FrameType, body: Buffer) => void;

/**
 * Cuts a connection's chunks into frames, however they are split, in linear time; holds at most twice the bytes received.
 * `push` throws ProtocolError `portal_magic`, `portal_version`, `portal_type` at the first wrong byte and `portal_length` when
 * a body is announced that is longer than `maxBody`; the deframer is of no use after that. `maxBody` may be changed between
 * frames, also by the one who takes them.
 */
export class PortalDeframer {
  maxBody: number;
  readonly #onFrame: OnFrame;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headFill = 0;
  /** Length of the body begun; -1 between frames. */
  #length = -1;
  #body = EMPTY;
  #bodyFill = 0;
  #stopped = false;

  constructor(maxBody: number, onFrame: OnFrame) {
    this.maxBody = maxBody;
    this.#onFrame = onFrame;
  }

  /** Takes nothing more, not even the rest of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#body = EMPTY;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      at = this.#length < 0 ? this.#readHead(chunk, at) : this.#readBody(chunk, at);
    }
  }

  #readHead(chunk: Buffer, at: number): number {
    const count = Math.min(HEAD_BYTES - this.#headFill, chunk.length - at);
    chunk.copy(this.#head, this.#headFill, at, at + count);
    this.#headFill += count;
    this.#checkHead();
    if (this.#headFill < HEAD_BYTES) return at + count;
    this.#headFill = 0;
    this.#length = this.#head.readUInt32BE(LENGTH_AT);
    if (this.#length > this.maxBody) {
      throw new ProtocolError('portal_length', `a body of ${this.#length} bytes, ${this.maxBody} at most`);
    }
    if (this.#length === 0) this.#finish(EMPTY);
    return at + count;
  }

  /** As soon as a byte is wrong: a peer that speaks something else may never send eleven. */
  #checkHead(): void {
    const known = Math.min(this.#headFill, OPENING.length);
    if (this.#head.compare(OPENING, 0, known, 0, known) !== 0) throw notPortal(this.#head.subarray(0, known));
    const type = this.#head[TYPE_AT]!;
    if (this.#headFill > TYPE_AT && (type < 1 || type > LAST_TYPE)) {
      throw new ProtocolError('portal_type', `frame type ${type} does not exist`);
    }
  }

  #readBody(chunk: Buffer, at: number): number {
    if (this.#bodyFill === 0 && chunk.length - at >= this.#length) {
      const end = at + this.#length;
      this.#finish(chunk.subarray(at, end));
      return end;
    }
    const count = Math.min(this.#length - this.#bodyFill, chunk.length - at);
    this.#makeRoom(this.#bodyFill + count);
    chunk.copy(this.#body, this.#bodyFill, at, at + count);
    this.#bodyFill += count;
    if (this.#bodyFill === this.#length) this.#finish(this.#body.subarray(0, this.#length));
    return at + count;
  }

  #finish(body: Buffer): void {
    const type = this.#head[TYPE_AT] as FrameType;
    this.#length = -1;
    this.#body = EMPTY;
    this.#bodyFill = 0;
    this.#onFrame(type, body);
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#body.length) return;
    const size = Math.min(this.#length, Math.max(bytes, FIRST_PIECE_BYTES, this.#body.length * 2));
    const body = Buffer.allocUnsafeSlow(size);
    this.#body.copy(body, 0, 0, this.#bodyFill);
    this.#body = body;
  }
}

function notPortal(head: Buffer): ProtocolError {
  const known = Math.min(head.length, MAGIC_BYTES);
  if (head.compare(OPENING, 0, known, 0, known) !== 0) {
    return new ProtocolError('portal_magic', `not a PORTAL02 frame: it begins with ${head.toString('hex')}`);
  }
  return new ProtocolError('portal_version', `PORTAL version ${head.subarray(MAGIC_BYTES).toString('hex')}, not 0002`);
}
