// Which messages a peer is known to have, so that a connection soon after does not tell them again. Positions are many and short
// of life: a bit each, of so many of the last ones. Contacts, alerts and the rest are few, and known for as long as the relay keeps
// them.
import { type Envelope, isPositionLane } from '../../core/message.ts';
import { ARRIVED_PAGES } from './limits.ts';

/** Messages of one page, by their number in this relay. */
const PAGE = 4_096;

export class Arrived {
  /** The oldest first. */
  readonly #pages = new Map<number, Uint32Array>();
  #others = new WeakSet<Envelope>();
  #last: { readonly number: number; readonly bits: Uint32Array } | undefined;

  add(envelope: Envelope): void {
    if (!isPosition(envelope)) return void this.#others.add(envelope);
    const bits = this.#page(Math.floor(envelope.seq / PAGE));
    const at = envelope.seq % PAGE;
    bits[at >> 5]! |= 1 << (at & 31);
  }

  has(envelope: Envelope): boolean {
    if (!isPosition(envelope)) return this.#others.has(envelope);
    const bits = this.#pages.get(Math.floor(envelope.seq / PAGE));
    const at = envelope.seq % PAGE;
    return bits !== undefined && (bits[at >> 5]! & (1 << (at & 31))) !== 0;
  }

  clear(): void {
    this.#pages.clear();
    this.#last = undefined;
    this.#others = new WeakSet();
  }

  #page(number: number): Uint32Array {
    if (this.#last?.number === number) return this.#last.bits;
    const bits = this.#pages.get(number) ?? new Uint32Array(PAGE / 32);
    this.#pages.set(number, bits);
    if (this.#pages.size > ARRIVED_PAGES) this.#pages.delete(this.#pages.keys().next().value!);
    this.#last = { number, bits };
    return bits;
  }
}

function isPosition({ message, lane }: Envelope): boolean {
  return message.kind === 'event' && isPositionLane(lane);
}
