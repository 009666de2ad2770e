// Large records in pieces, so that an alert never waits behind one for longer than a piece takes. Out: one after the other, a piece
// at a time, with their share of a wire that others want, too. In: one at a time, bounded. Files and missions go by one such track
// and take what is left; chat and markers by another, which waits for nothing.
import type { Envelope } from '../../core/message.ts';
import { ProtocolError } from '../../lib/errors.ts';
import type { Chunk } from '../../wire/portal-pieces.ts';
import { MAX_BODY, MAX_CHUNKED, MAX_CHUNKED_BYTES } from './limits.ts';

interface Large {
  readonly envelope: Envelope;
  /** One record, as it would stand in Events; of an event its whole field. */
  readonly bytes: Buffer;
  /** It was said to its end. */
  commit(): void;
  at: number;
}

/** Of a track. */
export interface Share {
  /** Its pieces are told from those of the other one. */
  readonly isEvent: boolean;
  /** While others want the wire, a piece goes after so many times its size of theirs. */
  readonly others: number;
}

/** Pieces that go one behind the other because one of the others was so much larger. */
const MOST_BEHIND = 16;

export const FILES: Share = { isEvent: false, others: 16 };
export const EVENTS: Share = { isEvent: true, others: 0.5 };

export interface Piece {
  readonly chunk: Chunk;
  /** Of the last piece: what has been said with it. */
  readonly envelope: Envelope | undefined;
}

export class ChunksOut {
  readonly #share: Share;
  #waiting: Large[] = [];
  #bytes = 0;
  /** Of others, since the last piece. */
  #between = 0;

  constructor(share: Share) {
    this.#share = share;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** What is added now may be refused. */
  get isFull(): boolean {
    return this.#waiting.length >= MAX_CHUNKED || this.#bytes >= MAX_CHUNKED_BYTES;
  }

  /** False: too much waits already. */
  add(envelope: Envelope, bytes: Buffer, commit = () => {}): boolean {
    if (this.isFull) return false;
    if (this.#waiting.length === 0) this.#between = 0;
    this.#waiting.push({ envelope, bytes, commit, at: 0 });
    this.#bytes += bytes.length;
    return true;
  }

  /** Others have used the wire. */
  passed(bytes: number): void {
    this.#between += bytes;
  }

  /** It has had its share. */
  settle(): void {
    this.#between = 0;
  }

  /** Whether a piece of this size goes before others now. */
  isDue(size: number): boolean {
    return this.#waiting.length > 0 && this.#between >= this.#share.others * size;
  }

  /** Of what is under way. */
  get first(): Envelope | undefined {
    return this.#waiting[0]?.envelope;
  }

  /** The next piece, of at most `size` bytes; the same until sent(). */
  next(size: number): Piece | undefined {
    const [large] = this.#waiting;
    if (!large) return undefined;
    const { bytes, at, envelope } = large;
    const data = bytes.subarray(at, at + size);
    const chunk = { total: at === 0 ? bytes.length : 0, data, isEvent: this.#share.isEvent };
    return { chunk, envelope: at + data.length === bytes.length ? envelope : undefined };
  }

  sent({ chunk, envelope }: Piece): void {
    const [large] = this.#waiting;
    if (!large) return;
    large.at += chunk.data.length;
    // Others may be larger than a piece: it catches up, but saves nothing up.
    const part = this.#share.others * chunk.data.length;
    this.#between = Math.max(0, Math.min(this.#between, MOST_BEHIND * part) - part);
    if (!envelope) return;
    this.#waiting.shift();
    this.#bytes -= large.bytes.length;
    large.commit();
  }

  /** What was not said to its end, in order. */
  close(): readonly Envelope[] {
    const unsaid = this.#waiting.map(({ envelope }) => envelope);
    this.#waiting = [];
    this.#bytes = 0;
    return unsaid;
  }
}

/** First allocation for a record in pieces; it doubles as bytes really arrive, so a lying total costs nothing. */
const FIRST_BYTES = 16 << 10;

export class ChunksIn {
  readonly #most: number;
  #total = 0;
  #bytes = Buffer.alloc(0);
  #fill = 0;
  /** It was given up: its further pieces are passed over. */
  #isOrphan = false;

  constructor(most = MAX_BODY) {
    this.#most = most;
  }

  /** Bytes of an unfinished record. */
  get held(): number {
    return this.#fill;
  }

  /** Returns the record when this was its last piece. Throws ProtocolError. */
  take({ total, data }: Chunk): Buffer | undefined {
    if (data.length === 0) throw new ProtocolError('chunk_empty', 'a piece without bytes');
    if (total > 0) this.#begin(total);
    else if (this.#total === 0) throw new ProtocolError('chunk_order', 'a piece of a record that was not begun');
    if (this.#fill + data.length > this.#total) {
      throw new ProtocolError('chunk_length', `more pieces than the ${this.#total} bytes that were announced`);
    }
    if (!this.#isOrphan) this.#append(data);
    this.#fill += data.length;
    return this.#fill === this.#total ? this.#finish() : undefined;
  }

  /** Nothing more is expected of the one begun. */
  giveUp(): void {
    this.#isOrphan = true;
    this.#bytes = Buffer.alloc(0);
  }

  #begin(total: number): void {
    if (this.#total > 0) throw new ProtocolError('chunk_order', 'a record was begun before the one before had ended');
    if (total > this.#most)
      throw new ProtocolError('chunk_length', `a record of ${total} bytes, ${this.#most} at most`);
    this.#total = total;
    this.#fill = 0;
    this.#isOrphan = false;
  }

  #append(data: Buffer): void {
    const needed = this.#fill + data.length;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.min(this.#total, Math.max(needed, FIRST_BYTES, 2 * this.#bytes.length)),
      );
      this.#bytes.copy(grown, 0, 0, this.#fill);
      this.#bytes = grown;
    }
    data.copy(this.#bytes, this.#fill);
  }

  #finish(): Buffer | undefined {
    const record = this.#isOrphan ? undefined : this.#bytes.subarray(0, this.#total);
    this.#total = 0;
    this.#fill = 0;
    this.#bytes = Buffer.alloc(0);
    return record;
  }
}
