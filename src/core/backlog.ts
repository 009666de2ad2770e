// What waits for all peers together. Each queue has its bounds; but a thousand of them, or sixty that stalled, would need more memory
// than there is. Over the bound the queue that has most to spare gives first: whoever reads is not hurt for those who do not.
import { type Envelope, sizeOf } from './message.ts';

/** Of all queues. 16 MiB are what some 90,000 waiting messages cost, if many queues share them. */
export const BACKLOG_BYTES: number = 16 << 20;

/** What a place in a queue costs beside the message, which may wait in many. */
export const PLACE_BYTES = 160;
/** Of what the fattest has to spare it gives at least this part at once: it is not looked for with every message. */
const AT_ONCE = 1 / 16;

/** In how many queues a message waits, and what it was counted with. */
export interface Held {
  queues: number;
  readonly bytes: number;
}

/** A queue, as seen from here. */
export interface Giver {
  /** Bytes of what can be done without: positions, files. */
  readonly spareBytes: number;
  readonly length: number;
  /** Drops the oldest of its least urgent lane as `queue_full`. */
  giveOne(): void;
}

export class Backlog {
  readonly #limit: number;
  readonly #givers = new Set<Giver>();
  #bytes = 0;

  constructor(limit: number = BACKLOG_BYTES) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  join(giver: Giver): void {
    this.#givers.add(giver);
  }

  leave(giver: Giver): void {
    this.#givers.delete(giver);
  }

  added(envelope: Envelope): void {
    const held = envelope.held ?? { queues: 0, bytes: sizeOf(envelope) };
    envelope.held = held;
    this.#bytes += held.queues++ === 0 ? held.bytes + PLACE_BYTES : PLACE_BYTES;
  }

  removed({ held }: Envelope): void {
    if (held) this.#bytes -= --held.queues === 0 ? held.bytes + PLACE_BYTES : PLACE_BYTES;
  }

  get isOver(): boolean {
    return this.#bytes > this.#limit;
  }

  relieve(): void {
    while (this.isOver) {
      const fattest = this.#fattest();
      if (!fattest) return;
      const gives = Math.ceil(fattest.length * AT_ONCE);
      for (let count = 0; count < gives && this.isOver; count++) fattest.giveOne();
    }
  }

  /** By what it can spare; if none can, by what it has. */
  #fattest(): Giver | undefined {
    let fattest: Giver | undefined;
    for (const giver of this.#givers) {
      if (giver.length === 0) continue;
      if (!fattest || isFatter(giver, fattest)) fattest = giver;
    }
    return fattest;
  }
}

function isFatter(one: Giver, than: Giver): boolean {
  return one.spareBytes === than.spareBytes ? one.length > than.length : one.spareBytes > than.spareBytes;
}
