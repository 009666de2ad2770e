// Exponential back-off with full jitter. The caller decides what counts as a success worth a reset.

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Never wait less than this, however the dice fall. */
  readonly floorMs?: number;
  readonly random?: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #attempt = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Milliseconds to wait before the next try: floor + random share of min(max, first * 2^attempt). */
  nextMs(): number {
    const { firstMs, maxMs, floorMs = 0, random = Math.random } = this.#options;
    const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(this.#attempt++, 30));
    return Math.max(floorMs, Math.round(random() * ceiling));
  }

  reset(): void {
    this.#attempt = 0;
  }
}
