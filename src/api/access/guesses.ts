// Slows down guessing: wrong passwords, setup codes and tokens, by source address. After some free tries each further wrong one
// doubles the wait. Others are not slowed: who guesses cannot lock the owner out from another address.

import { sourceOf } from '../../lib/address.ts';
import type { Clock } from '../../lib/clock.ts';
import { Refusal } from '../refusal.ts';

/** Wrong tries that cost nothing but themselves. */
export const FREE_TRIES = 5;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 15 * 60_000;
/** Forgotten after this long without a wrong try. */
const FORGET_MS = 60 * 60_000;
/** Sources remembered; beyond it the one that was quiet longest is forgotten. */
const MAX_SOURCES = 2048;

interface Tries {
  wrong: number;
  lastMs: number;
  notBeforeMs: number;
}

export class Guesses {
  readonly #clock: Clock;
  /** Quiet for longest first. */
  readonly #tries = new Map<string, Tries>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws Refusal 429 while the source has to wait */
  check(address: string): void {
    const tries = this.#tries.get(sourceOf(address));
    const nowMs = this.#clock.nowMs();
    if (!tries || tries.notBeforeMs <= nowMs) return;
    const seconds = Math.ceil((tries.notBeforeMs - nowMs) / 1000);
    throw new Refusal(429, 'too_many_tries', `too many wrong tries from ${address}`, {
      fix: `wait ${seconds} s; the command line on the box itself always works`,
      headers: { 'retry-after': String(seconds) },
    });
  }

  /** Counts the try before it is known to be wrong: a hundred at once are a hundred. */
  begin(address: string): void {
    this.check(address);
    const source = sourceOf(address);
    const nowMs = this.#clock.nowMs();
    const before = this.#tries.get(source);
    const wrong = before && nowMs - before.lastMs < FORGET_MS ? before.wrong + 1 : 1;
    const over = wrong - FREE_TRIES;
    const waitMs = over < 0 ? 0 : Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(over, 20));
    this.#tries.delete(source);
    this.#tries.set(source, { wrong, lastMs: nowMs, notBeforeMs: nowMs + waitMs });
    if (this.#tries.size > MAX_SOURCES) this.#tries.delete(this.#tries.keys().next().value!);
  }

  right(address: string): void {
    this.#tries.delete(sourceOf(address));
  }
}
