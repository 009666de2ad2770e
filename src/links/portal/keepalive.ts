// How long a quiet connection may stay quiet before the network between forgets it. NATs differ from 30 s to hours, and each
// PING wakes a radio, so the interval is learnt: longer while PINGs after a full silence are answered, back to the last good
// one when a connection dies of one. What was good is remembered per uplink, across restarts.
import { isIPv4 } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import type { LinkMemory } from '../link.ts';
import { MAX_KEEPALIVE_MS } from './limits.ts';

const GROWTH = 1.5;
/** Closer than this to what failed is not worth a broken connection. */
const CLOSE_ENOUGH = 1.25;
/** Longer by less than this is a timer that came late, and nothing learnt: every note is a write to a card. */
const WORTH_NOTING = 1.05;
/** A failure may have been an outage: after this it is tried again. */
const BAD_MS = 24 * 3_600_000;

export class Keepalive {
  readonly #memory: LinkMemory;
  readonly #clock: Clock;
  readonly #key: string;
  readonly #shortestMs: number;
  /** The longest silence that was survived. */
  #goodMs: number;
  /** The shortest that was not, and when. */
  #bad: { readonly silenceMs: number; readonly atMs: number } | undefined;

  /** `localAddress`: ours on a connection, by which uplinks are told apart. */
  constructor(memory: LinkMemory, clock: Clock, localAddress: string, shortestMs: number) {
    this.#memory = memory;
    this.#clock = clock;
    this.#key = `keepalive ${networkOf(localAddress)}`;
    this.#shortestMs = shortestMs;
    const known = Number(memory.get(this.#key));
    this.#goodMs = known >= shortestMs && known <= MAX_KEEPALIVE_MS ? known : 0;
  }

  /** The silence after which to send a PING. */
  get intervalMs(): number {
    if (this.#goodMs < this.#shortestMs) return this.#shortestMs;
    const longer = Math.min(MAX_KEEPALIVE_MS, this.#goodMs * GROWTH);
    const badMs = this.#badMs;
    if (longer < badMs) return longer;
    return badMs / this.#goodMs > CLOSE_ENOUGH ? (this.#goodMs + badMs) / 2 : this.#goodMs;
  }

  /** A PING after this much silence was answered. */
  survived(silenceMs: number): void {
    if (silenceMs < this.#shortestMs) return;
    // What failed once and now did not was no NAT.
    if (silenceMs >= this.#badMs) this.#bad = undefined;
    if (silenceMs > this.#goodMs * WORTH_NOTING) this.#learn(silenceMs);
  }

  /** The connection was dead after this much silence. If more was survived before, the way has changed. */
  died(silenceMs: number): void {
    if (silenceMs < this.#shortestMs) return;
    this.#bad = { silenceMs, atMs: this.#clock.nowMs() };
    if (silenceMs <= this.#goodMs) this.#learn(silenceMs / 2);
  }

  get #badMs(): number {
    if (!this.#bad || this.#clock.nowMs() - this.#bad.atMs > BAD_MS) return Number.POSITIVE_INFINITY;
    return this.#bad.silenceMs;
  }

  #learn(silenceMs: number): void {
    this.#goodMs = Math.min(MAX_KEEPALIVE_MS, Math.max(this.#shortestMs, Math.round(silenceMs)));
    this.#memory.set(this.#key, String(this.#goodMs));
  }
}

/** The part of an address that stays when a carrier hands out another: the first half of IPv4, the first 32 bits of IPv6. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '');
  return isIPv4(plain) ? plain.split('.').slice(0, 2).join('.') : plain.split(':').slice(0, 2).join(':');
}
