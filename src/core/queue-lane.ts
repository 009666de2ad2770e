// One lane of a queue: first in, first out, with places that can be refilled and left. A list, so that all of it takes the
// same short time however much waits.
import type { Envelope } from './message.ts';

export interface Slot {
  envelope: Envelope;
  /** Before this monotonic time it goes only if nothing else waits; 0: it is due. */
  dueMs: number;
  /** Since when the thing waits, whatever newer word of it took the place; monotonic. */
  sinceMs: number;
  previous: Slot | undefined;
  next: Slot | undefined;
}

export class QueueLane {
  first: Slot | undefined;
  #last: Slot | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  *envelopes(): Generator<Envelope, undefined> {
    for (let slot = this.first; slot; slot = slot.next) yield slot.envelope;
    return undefined;
  }

  /** The one worth most; of equals the first. Undefined: none is here. */
  best(worth: (envelope: Envelope, sinceMs: number) => number): Slot | undefined {
    let best = this.first;
    let most = best ? worth(best.envelope, best.sinceMs) : 0;
    for (let slot = best?.next; slot; slot = slot.next) {
      const found = worth(slot.envelope, slot.sinceMs);
      if (found <= most) continue;
      best = slot;
      most = found;
    }
    return best;
  }

  /** Puts one behind all others. */
  push(envelope: Envelope, dueMs = 0, sinceMs = envelope.receivedMs): Slot {
    const slot = makeSlot(envelope, dueMs, sinceMs, this.#last, undefined);
    if (this.#last) this.#last.next = slot;
    else this.first = slot;
    this.#last = slot;
    this.#length++;
    return slot;
  }

  /** Puts one before all others. */
  unshift(envelope: Envelope, sinceMs = envelope.receivedMs): Slot {
    const slot = makeSlot(envelope, 0, sinceMs, undefined, this.first);
    if (this.first) this.first.previous = slot;
    else this.#last = slot;
    this.first = slot;
    this.#length++;
    return slot;
  }

  remove({ previous, next }: Slot): void {
    if (previous) previous.next = next;
    else this.first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    this.#length--;
  }
}

/** Slots that nobody refers to. Queues that are full would make so much old garbage that collecting it is felt by all peers. */
let unused: Slot | undefined;
let unusedCount = 0;
const MAX_UNUSED = 4096;

/** To be called when nothing refers to it any more. */
export function dispose(slot: Slot): void {
  if (unusedCount >= MAX_UNUSED) return;
  slot.envelope = NOTHING;
  slot.previous = undefined;
  slot.next = unused;
  unused = slot;
  unusedCount++;
}

function makeSlot(
  envelope: Envelope,
  dueMs: number,
  sinceMs: number,
  previous: Slot | undefined,
  next: Slot | undefined,
): Slot {
  const slot = unused;
  if (!slot) return { envelope, dueMs, sinceMs, previous, next };
  unused = slot.next;
  unusedCount--;
  slot.envelope = envelope;
  slot.dueMs = dueMs;
  slot.sinceMs = sinceMs;
  slot.previous = previous;
  slot.next = next;
  return slot;
}

/** What a slot refers to that is not used. */
const NOTHING = {} as Envelope;
