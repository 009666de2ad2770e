// A token bucket over a clock it is given: `take` always succeeds and may go into debt; `waitMs` says how long to pause.

export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #nowMs: () => number;
  #tokens: number;
  #at: number;

  /** @param perSecond tokens gained per second @param burst most that can be saved up */
  constructor(perSecond: number, burst: number, nowMs: () => number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#nowMs = nowMs;
    this.#tokens = burst;
    this.#at = nowMs();
  }

  /** Takes `count` tokens, into debt if it must. Returns milliseconds until the debt is paid (0: none). */
  take(count: number): number {
    this.#refill();
    this.#tokens -= count;
    return this.#tokens >= 0 ? 0 : Math.ceil(-this.#tokens / this.#perMs);
  }

  /** Milliseconds until the debt is paid; 0: there is none. */
  debtMs(): number {
    return this.take(0);
  }

  /** Takes `count` tokens if they are there; false leaves the bucket as it was. */
  tryTake(count: number): boolean {
    this.#refill();
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  #refill(): void {
    const now = this.#nowMs();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
}
