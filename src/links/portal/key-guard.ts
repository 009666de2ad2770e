// The federation key, the second factor: challenges made and answered, wrong answers counted.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { MAX_OWN_NONCES, MAX_SUSPECTS, NONCE_BYTES, SHUT_OUT_MS, WRONG_KEYS, WRONG_KEYS_MS } from './limits.ts';

interface Suspect {
  /** Monotonic times of wrong answers, the oldest first. */
  wrong: readonly number[];
  shutOutUntilMs: number;
}

export class KeyGuard {
  readonly #key: Buffer;
  readonly #clock: Clock;
  /** By whatever the caller tells them apart by; the longest quiet first. */
  readonly #suspects = new Map<string, Suspect>();
  /** Challenges we have made, as hex; the oldest first. */
  readonly #own = new Set<string>();

  constructor(key: Buffer, clock: Clock) {
    this.#key = key;
    this.#clock = clock;
  }

  /** A challenge never made before. */
  challenge(): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    this.#own.add(nonce.toString('hex'));
    for (const oldest of this.#own) {
      if (this.#own.size <= MAX_OWN_NONCES) break;
      this.#own.delete(oldest);
    }
    return nonce;
  }

  /**
   * The answer to a peer's challenge; undefined when it is one of our own: whoever sends it back wants us to answer it for
   * him. `key`: in place of the link's.
   */
  answer(nonce: Buffer, key = this.#key): Buffer | undefined {
    return this.#own.has(nonce.toString('hex')) ? undefined : hash(nonce, key);
  }

  /** Whether the answer proves the key; takes the same time whatever is wrong. A challenge is good for one answer. */
  accepts(nonce: Buffer, answer: Buffer, from: string, key = this.#key): boolean {
    const right = answer.length === NONCE_BYTES && timingSafeEqual(answer, hash(nonce, key));
    if (!right) this.#suspect(from);
    return right;
  }

  /** True for a minute after WRONG_KEYS wrong answers within a minute. */
  shutOut(from: string): boolean {
    return (this.#suspects.get(from)?.shutOutUntilMs ?? 0) > this.#clock.nowMs();
  }

  #suspect(from: string): void {
    const nowMs = this.#clock.nowMs();
    const before = this.#suspects.get(from);
    const wrong = [...(before?.wrong ?? []).filter((atMs) => nowMs - atMs < WRONG_KEYS_MS), nowMs];
    const shutOutUntilMs = wrong.length >= WRONG_KEYS ? nowMs + SHUT_OUT_MS : (before?.shutOutUntilMs ?? 0);
    this.#suspects.delete(from); // to the end of the order
    this.#suspects.set(from, { wrong, shutOutUntilMs });
    for (const longest of this.#suspects.keys()) {
      if (this.#suspects.size <= MAX_SUSPECTS) break;
      this.#suspects.delete(longest);
    }
  }
}

function hash(nonce: Buffer, key: Buffer): Buffer {
  return createHash('sha256').update(nonce).update(key).digest();
}
