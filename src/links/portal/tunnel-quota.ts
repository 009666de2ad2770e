// What one peer may use of a hub: tunnels at a time, bytes a day, bytes a second. Who asks for a tunnel pays for it.
import type { Clock } from '../../lib/clock.ts';
import { TokenBucket } from '../../lib/token-bucket.ts';
import type { Limit } from './seam.ts';
import type { Refusal } from './tunnel-words.ts';

export interface TunnelLimits {
  readonly maxPerPeer: number;
  /** Undefined: no limit. */
  readonly bytesPerDay: number | undefined;
  readonly bytesPerSecond: number | undefined;
}

const DAY_MS = 24 * 3_600_000;
/** What may pass at once after a pause, in seconds of the rate; at least one read's worth. */
const BURST_S = 1;
const MIN_BURST_BYTES = 65_536;

export class TunnelQuota {
  readonly #limits: TunnelLimits;
  readonly #clock: Clock;
  readonly #bucket: TokenBucket | undefined;
  #open = 0;
  #spent = 0;
  /** Monotonic time at which the day of `#spent` began: with the first byte after the last day. */
  #dayStartMs = Number.NEGATIVE_INFINITY;

  constructor(limits: TunnelLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    const rate = limits.bytesPerSecond;
    this.#bucket =
      rate === undefined
        ? undefined
        : new TokenBucket(rate, Math.max(rate * BURST_S, MIN_BURST_BYTES), () => clock.nowMs());
  }

  /** Counts one more tunnel, or says why there may be none. */
  begin(): Refusal | undefined {
    const { maxPerPeer, bytesPerDay } = this.#limits;
    if (this.#open >= maxPerPeer) {
      const words = `this peer already has its ${maxPerPeer} tunnels`;
      return { status: 429, code: 'tunnel_limit', words };
    }
    if (this.#exhausted()) {
      const hours = Math.ceil((this.#dayStartMs + DAY_MS - this.#clock.nowMs()) / 3_600_000);
      const words = `the ${bytesPerDay} bytes of this peer's day are used up; the next begins within ${hours} h`;
      return { status: 429, code: 'byte_limit', words };
    }
    this.#open++;
    return undefined;
  }

  /** One tunnel fewer. */
  end(): void {
    this.#open--;
  }

  /** Takes note of bytes passed. Milliseconds to pause before more; undefined: nothing more today. */
  spend(bytes: number): number | undefined {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#dayStartMs >= DAY_MS) {
      this.#dayStartMs = nowMs;
      this.#spent = 0;
    }
    this.#spent += bytes;
    if (this.#exhausted()) return undefined;
    return this.#bucket?.take(bytes) ?? 0;
  }

  get open(): number {
    return this.#open;
  }

  #exhausted(): boolean {
    const { bytesPerDay } = this.#limits;
    return bytesPerDay !== undefined && this.#spent >= bytesPerDay && this.#clock.nowMs() - this.#dayStartMs < DAY_MS;
  }
}

/** The limits as a hub tells them in its Hello. What is not named is not limited. */
export function saidLimits(limits: TunnelLimits): readonly Limit[] {
  const { maxPerPeer, bytesPerDay, bytesPerSecond } = limits;
  const said = [
    { name: 'tunnels', value: maxPerPeer },
    { name: 'tunnel_bytes', value: bytesPerDay },
    { name: 'tunnel_rate', value: bytesPerSecond },
  ];
  return said.flatMap(({ name, value }) => (value === undefined ? [] : [{ name, value }]));
}
