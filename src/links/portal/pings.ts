// PINGs of one connection that wait for their PONG, and what those tell: round trip, clock, that something arrived.
import type { Clock } from '../../lib/clock.ts';
import type { PortalPing } from '../../wire/portal-bodies.ts';

/** A peer that answers none of these is dead by other rules. */
const MAX_OPEN = 32;
/** What two clocks without a teacher may drift apart, at the worst: a measurement gets worse with its age. */
const DRIFT = 1e-4;
/** Share of a new measurement in the smoothed round trip (RFC 6298 §2). */
const SHARE = 1 / 8;

interface Ping {
  readonly seq: number;
  readonly atMs: number;
  readonly isProof: boolean;
}

export class Pings {
  readonly #clock: Clock;
  #open: Ping[] = [];
  #nextSeq = 1;
  #rttMs: number;
  #quickestMs: number;
  /** `oursMs`: how far our clock of the day was ahead of the monotonic one, at `atMs` of that. */
  #offset: { readonly ms: number; readonly rttMs: number; readonly oursMs: number; readonly atMs: number } | undefined;

  /** `rttMs`: a first measurement. */
  constructor(clock: Clock, rttMs: number) {
    this.#clock = clock;
    this.#rttMs = rttMs;
    this.#quickestMs = rttMs;
  }

  /** Smoothed. */
  get rttMs(): number {
    return this.#rttMs;
  }

  /** The shortest ever, behind data or not: the way without queues. */
  get quickestMs(): number {
    return this.#quickestMs;
  }

  /** How much the peer's clock is ahead of ours, by the quickest PONG of late; undefined: it did not say. Ours may have been set since. */
  get clockOffsetMs(): number | undefined {
    if (!this.#offset) return undefined;
    const { ms, oursMs } = this.#offset;
    return ms - (this.#clock.wallMs() - this.#clock.nowMs() - oursMs);
  }

  /** Monotonic time of the oldest PING without a PONG; undefined: none. */
  get waitingSinceMs(): number | undefined {
    return this.#open[0]?.atMs;
  }

  /** The number of the next PING. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** Notes that the PING `nextSeq` was sent. `isProof`: it stands behind other data, and measures those too. */
  sent(isProof: boolean): void {
    if (this.#open.length >= MAX_OPEN) this.#open.shift();
    this.#open.push({ seq: this.#nextSeq++, atMs: this.#clock.nowMs(), isProof });
  }

  /** A PONG came. Without a number it answers the oldest PING; one that answers none is passed over. */
  answered(pong: PortalPing, wallMs: number): 'proof' | 'measured' | undefined {
    const index = pong.seq === 0 ? 0 : this.#open.findIndex(({ seq }) => seq === pong.seq);
    const ping = this.#open[index];
    if (!ping) return undefined;
    this.#open.splice(index, 1);
    const rttMs = this.#clock.nowMs() - ping.atMs;
    // No round trip is longer than one behind data: else a first one that was measured while a machine was busy would stand for ever.
    this.#quickestMs = Math.min(this.#quickestMs, rttMs);
    if (ping.isProof) return 'proof';
    this.#rttMs += (rttMs - this.#rttMs) * SHARE;
    if (pong.sentUs !== 0) this.#compare(pong, wallMs, rttMs);
    return 'measured';
  }

  /** The PONG that answers our Hello came: what a box that has just started knows of the time until its first PING, minutes later. */
  greeted(pong: PortalPing, wallMs: number): void {
    this.#compare(pong, wallMs, this.#rttMs);
  }

  #compare({ wallUs }: PortalPing, wallMs: number, rttMs: number): void {
    if (wallUs === 0) return;
    const atMs = this.#clock.nowMs();
    const before = this.#offset;
    if (before && before.rttMs / 2 + DRIFT * (atMs - before.atMs) < rttMs / 2) return;
    // Our own time of the PING is not used: the clock may have been set while it was under way.
    this.#offset = { ms: wallUs / 1000 - (wallMs - rttMs / 2), rttMs, oursMs: wallMs - atMs, atMs };
  }
}
