// The only clock the core knows. Tests drive a ManualClock; nothing else in core/ may look at the time.

export interface Clock {
  /** Wall clock, milliseconds since the epoch, UTC. May jump. For the wire and the screen only. */
  wallMs(): number;
  /** Monotonic milliseconds. For every duration. */
  nowMs(): number;
  /** Calls `run` once after `delayMs`; the returned function cancels it. Does not keep the process alive. */
  after(delayMs: number, run: () => void): () => void;
}

/** What setTimeout() can count to, 24 days; it takes more for nothing at all. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(delayMs, LONGEST_DELAY_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Virtual time for tests and simulations: stands still until `advance` is called. */
export class ManualClock implements Clock {
  #now = 0;
  #wallOffset: number;
  #timers: { at: number; run: () => void; order: number }[] = [];
  #order = 0;

  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.#wallOffset = wallMs;
  }

  wallMs(): number {
    return this.#now + this.#wallOffset;
  }

  nowMs(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), run, order: this.#order++ };
    this.#timers.push(timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  /** Moves time forward, running every timer that falls due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      this.#timers.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#timers[0];
      if (!next || next.at > end) break;
      this.#timers.shift();
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }

  /** Lets the wall clock jump, as NTP does, without passing time. */
  jumpWall(ms: number): void {
    this.#wallOffset += ms;
  }
}
