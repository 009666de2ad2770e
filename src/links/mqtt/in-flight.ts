// What was published and is not acknowledged: bounded, in order, given back when the connection ends.
import type { Envelope } from '../../core/message.ts';
import type { Returned } from '../../core/session.ts';

interface Flight {
  readonly envelope: Envelope;
  readonly bytes: number;
  readonly sinceMs: number;
}

export class InFlight {
  readonly #most: { readonly events: number; readonly bytes: number };
  readonly #flights = new Map<number, Flight>();
  #bytes = 0;
  #last = 0;

  constructor(most: { readonly events: number; readonly bytes: number }) {
    this.#most = most;
  }

  get size(): number {
    return this.#flights.size;
  }

  /** One larger event has room when nothing else flies. */
  hasRoom(bytes: number): boolean {
    if (this.#flights.size === 0) return true;
    return this.#flights.size < this.#most.events && this.#bytes + bytes <= this.#most.bytes;
  }

  /** Returns the key to land it with. */
  start(envelope: Envelope, bytes: number, nowMs: number): number {
    this.#flights.set(++this.#last, { envelope, bytes, sinceMs: nowMs });
    this.#bytes += bytes;
    return this.#last;
  }

  /** Undefined: it was given back. */
  land(key: number): Flight | undefined {
    const flight = this.#flights.get(key);
    if (!flight) return undefined;
    this.#flights.delete(key);
    this.#bytes -= flight.bytes;
    return flight;
  }

  /** For how long the oldest has flown. */
  oldestMs(nowMs: number): number {
    const [oldest] = this.#flights.values();
    return oldest ? nowMs - oldest.sinceMs : 0;
  }

  giveBack(): Returned {
    const returned = Array.from(this.#flights.values(), ({ envelope }) => envelope);
    this.#flights.clear();
    this.#bytes = 0;
    return returned;
  }
}
