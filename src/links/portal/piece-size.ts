// How much of an answer goes in one piece. A piece must not keep an alert waiting for more than half a second, and of a line that
// carries nothing but answers nobody has told how thin it is: so it is learnt from how long pieces take to be proven.
import { PIECE_BYTES } from './limits.ts';

const FIRST_BYTES = 512;
const SMALLEST_BYTES = 512;
/** Beyond a round trip. */
const LONG_MS = 300;
const SHORT_MS = 100;
/** Of what holds the line for half a second. */
const SHARE = 0.75;

export class PieceSize {
  #bytes = FIRST_BYTES;
  #sentMs = 0;
  #sentBytes = 0;

  /** @param recordBytes what holds the line for half a second, as far as is known (core/pace.ts) */
  next(recordBytes: number): number {
    return Math.max(SMALLEST_BYTES, Math.min(this.#bytes, Math.round(recordBytes * SHARE)));
  }

  /** The wire took one: true. */
  sent(bytes: number, nowMs: number): true {
    this.#sentBytes = bytes;
    this.#sentMs = nowMs;
    return true;
  }

  /** The last piece has arrived. `rttMs`: what an empty line takes. */
  proven(nowMs: number, rttMs: number): void {
    const tookMs = nowMs - this.#sentMs - rttMs;
    if (tookMs > LONG_MS) this.#bytes = Math.max(SMALLEST_BYTES, Math.min(this.#bytes, this.#sentBytes) / 2);
    else if (tookMs < SHORT_MS && this.#sentBytes >= this.#bytes / 2)
      this.#bytes = Math.min(PIECE_BYTES, 2 * this.#bytes);
  }
}
