// Cuts a stream into messages that each stand behind a head with their length, whatever the head looks like: shared by the
// federation protocols.

/** First allocation for a message that spans chunks; it doubles as bytes really arrive, so a lying length costs nothing. */
const FIRST_PIECE_BYTES = 4 << 10;

/** What stands before every message. */
export interface FrameHead {
  readonly bytes: number;
  /** Length of the message whose head stands at `at`. Throws ProtocolError when it is none. */
  lengthOf(bytes: Buffer, at: number): number;
}

export interface FrameEvents {
  /** A whole message. Shares memory with the chunk it came in when it lay in one; see `kept`. */
  message(payload: Buffer): void;
  /** A message of `size` bytes, framing included, was longer than allowed; its bytes are passed over as they come. */
  oversize(size: number): void;
}

/**
 * Cuts a stream's chunks into messages, however they are split, in linear time. Holds at most twice the bytes received.
 * `push` throws what the head's `lengthOf` throws; the cutter is of no use after that.
 */
export class FrameCutter {
  readonly #headOf: FrameHead;
  readonly #maxBytes: number;
  readonly #events: FrameEvents;
  readonly #head: Buffer;
  #headFill = 0;
  /** Payload bytes of the message begun; -1 between messages. */
  #length = -1;
  /** Payload bytes still to be passed over. */
  #skip = 0;
  #body: Buffer | undefined;
  #bodyFill = 0;
  #stopped = false;

  constructor(head: FrameHead, maxBytes: number, events: FrameEvents) {
    this.#headOf = head;
    this.#head = Buffer.alloc(head.bytes);
    this.#maxBytes = maxBytes;
    this.#events = events;
  }

  /** True when bytes of an unfinished message are held. */
  get partial(): boolean {
    return this.#headFill > 0 || this.#length >= 0 || this.#skip > 0;
  }

  /** Forgets what it holds and takes nothing more, not even the rest of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#body = undefined;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#skip > 0) at = this.#pass(chunk, at);
      else if (this.#length < 0) at = this.#readHead(chunk, at);
      else at = this.#readBody(chunk, at);
    }
  }

  #readHead(chunk: Buffer, at: number): number {
    if (this.#headFill === 0 && chunk.length - at >= this.#headOf.bytes) {
      this.#begin(chunk, at);
      return at + this.#headOf.bytes;
    }
    const count = Math.min(this.#headOf.bytes - this.#headFill, chunk.length - at);
    chunk.copy(this.#head, this.#headFill, at, at + count);
    this.#headFill += count;
    if (this.#headFill === this.#headOf.bytes) {
      this.#headFill = 0;
      this.#begin(this.#head, 0);
    }
    return at + count;
  }

  #begin(bytes: Buffer, at: number): void {
    const length = this.#headOf.lengthOf(bytes, at);
    if (length === 0) this.#events.message(EMPTY);
    else if (length <= this.#maxBytes) this.#length = length;
    else {
      this.#skip = length;
      this.#events.oversize(length + this.#headOf.bytes);
    }
  }

  #readBody(chunk: Buffer, at: number): number {
    if (this.#bodyFill === 0 && chunk.length - at >= this.#length) {
      const end = at + this.#length;
      this.#length = -1;
      this.#events.message(chunk.subarray(at, end));
      return end;
    }
    const count = Math.min(this.#length - this.#bodyFill, chunk.length - at);
    const body = this.#roomFor(this.#bodyFill + count);
    chunk.copy(body, this.#bodyFill, at, at + count);
    this.#bodyFill += count;
    if (this.#bodyFill === this.#length) this.#finish(body);
    return at + count;
  }

  #finish(body: Buffer): void {
    const payload = body.subarray(0, this.#length);
    this.#body = undefined;
    this.#bodyFill = 0;
    this.#length = -1;
    this.#events.message(payload);
  }

  #roomFor(bytes: number): Buffer {
    const old = this.#body;
    if (old && bytes <= old.length) return old;
    const size = Math.min(this.#length, Math.max(bytes, old ? old.length * 2 : FIRST_PIECE_BYTES));
    const body = Buffer.allocUnsafeSlow(size);
    old?.copy(body, 0, 0, this.#bodyFill);
    this.#body = body;
    return body;
  }

  #pass(chunk: Buffer, at: number): number {
    const count = Math.min(this.#skip, chunk.length - at);
    this.#skip -= count;
    return at + count;
  }
}

const EMPTY = Buffer.alloc(0);
