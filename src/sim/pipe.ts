// A line that carries so many bits per second, one message after the other, behind a buffer (of a socket, or of what a link lets
// be under way): what is in the buffer can no longer be replaced or overtaken.
import type { Offered } from './load.ts';

export class Pipe {
  readonly #perMs: number;
  readonly #buffer: number;
  readonly #arrived: (offered: Offered, atMs: number) => void;
  #inside: Offered[] = [];
  #bytes = 0;
  /** When the first in the buffer will have been carried. */
  #nextMs = 0;

  /** @param bufferBytes one message always fits */
  constructor(rateBps: number, bufferBytes: number, arrived: (offered: Offered, atMs: number) => void) {
    this.#perMs = rateBps / 8000;
    this.#buffer = bufferBytes;
    this.#arrived = arrived;
  }

  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#buffer;
  }

  push(offered: Offered, nowMs: number): void {
    if (this.#bytes === 0) this.#nextMs = nowMs + offered.bytes / this.#perMs;
    this.#inside.push(offered);
    this.#bytes += offered.bytes;
  }

  /** When the next message arrives; Infinity: none is under way. */
  get nextMs(): number {
    return this.#bytes === 0 ? Number.POSITIVE_INFINITY : this.#nextMs;
  }

  /** The first in the buffer has been carried. */
  step(): void {
    const offered = this.#inside.shift()!;
    const atMs = this.#nextMs;
    this.#bytes -= offered.bytes;
    const next = this.#inside[0];
    if (next) this.#nextMs = atMs + next.bytes / this.#perMs;
    this.#arrived(offered, atMs);
  }
}
