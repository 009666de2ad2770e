// How old events are when they come, how long they take through this relay, how old they are when they leave: histograms by
// class. Runs for every message, so it is arrays of counters and one reading of the clock for all copies of a message.
import type { Clock } from '../lib/clock.ts';
import { type Envelope, LANES } from './message.ts';

/** Upper bounds of the buckets, milliseconds. What is beyond the last one counts in a bucket of its own. */
export const RELAY_BOUNDS_MS = [
  1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
];
export const AGE_BOUNDS_MS = [
  50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
];

export class Histogram {
  readonly boundsMs: readonly number[];
  /** One more than there are bounds; not cumulative. */
  readonly counts: number[];
  sumMs = 0;

  constructor(boundsMs: readonly number[]) {
    this.boundsMs = boundsMs;
    this.counts = new Array<number>(boundsMs.length + 1).fill(0);
  }

  /** Counts `times` values at once. Below zero (a clock ahead of ours) counts as zero. */
  add(valueMs: number, times: number): void {
    const bounds = this.boundsMs;
    let at = 0;
    while (at < bounds.length && valueMs > bounds[at]!) at++;
    this.counts[at]! += times;
    if (valueMs > 0) this.sumMs += valueMs * times;
  }
}

/** Histograms of one kind, by lane. */
type ByLane = readonly Histogram[];

const byLane = (boundsMs: readonly number[]): ByLane => LANES.map(() => new Histogram(boundsMs));

export class Timings {
  /** From the event's own time to its receipt here. */
  readonly age: ByLane = byLane(AGE_BOUNDS_MS);
  /** From receipt here to a peer's wire. */
  readonly relay: ByLane = byLane(RELAY_BOUNDS_MS);
  /** From the event's own time to a peer's wire. */
  readonly endToEnd: ByLane = byLane(AGE_BOUNDS_MS);
  readonly #clock: Clock;
  /** What is being offered to all peers right now, and how many took it. */
  #spreading: Envelope | undefined;
  #copies = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The message was let in, and is offered to peers until spread(). */
  received(envelope: Envelope): void {
    const { message, lane, receivedWallMs } = envelope;
    if (message.kind === 'event') this.age[lane]!.add(receivedWallMs - message.event.timeMs, 1);
    this.#spreading = envelope;
    this.#copies = 0;
  }

  /** A peer's wire took it. */
  sent(envelope: Envelope): void {
    if (envelope.message.kind === 'contact') return; // says what was known before
    if (envelope === this.#spreading) this.#copies++;
    else this.#left(envelope, 1);
  }

  /** Every peer was offered what was received last. */
  spread(): void {
    const envelope = this.#spreading;
    this.#spreading = undefined;
    if (envelope && this.#copies > 0) this.#left(envelope, this.#copies);
  }

  #left({ message, lane, receivedMs, receivedWallMs }: Envelope, copies: number): void {
    const tookMs = this.#clock.nowMs() - receivedMs;
    this.relay[lane]!.add(tookMs, copies);
    // Not by today's wall clock: it may have been set since.
    if (message.kind === 'event') this.endToEnd[lane]!.add(receivedWallMs - message.event.timeMs + tookMs, copies);
  }
}
