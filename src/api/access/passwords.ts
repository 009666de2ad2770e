// Passwords: scrypt, one at a time. What is kept says how it was made, so that the cost can be raised later.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { Refusal } from '../refusal.ts';

export const MIN_PASSWORD = 10;
export const MAX_PASSWORD = 256;
/** 32 MiB and about 0.1 s on a PC, under a second on a small board. */
const COST = { N: 2 ** 15, r: 8, p: 1 } as const;
const KEY_BYTES = 32;
/** Hashes waiting to be made; beyond it, whoever tries is sent away. */
const MAX_WAITING = 8;

export const passwordHash = z.object({
  n: z.int(),
  r: z.int(),
  p: z.int(),
  salt: z.string(),
  hash: z.string(),
});
export type PasswordHash = z.output<typeof passwordHash>;

/** The one place where hashes are made: never two at once, so that guessing costs the relay one core at most. */
export class PasswordDesk {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  async make(password: string): Promise<PasswordHash> {
    const salt = randomBytes(16);
    const hash = await this.#derive(password, salt, COST);
    return { n: COST.N, r: COST.r, p: COST.p, salt: salt.toString('base64'), hash: hash.toString('base64') };
  }

  /** `known` undefined: takes as long as if there were one, then says no. */
  async matches(password: string, known: PasswordHash | undefined): Promise<boolean> {
    const cost = known ? { N: known.n, r: known.r, p: known.p } : COST;
    const hash = await this.#derive(password, known ? Buffer.from(known.salt, 'base64') : Buffer.alloc(16), cost);
    return known !== undefined && timingSafeEqual(hash, Buffer.from(known.hash, 'base64'));
  }

  #derive(password: string, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
    if (this.#waiting >= MAX_WAITING) {
      throw new Refusal(429, 'too_many_logins', 'too many people are logging in at once', {
        fix: 'try again in some seconds',
        headers: { 'retry-after': '5' },
      });
    }
    this.#waiting++;
    const work = this.#last.then(
      () =>
        new Promise<Buffer>((resolve, reject) => {
          const options = { ...cost, maxmem: 256 * cost.N * cost.r };
          scrypt(password.normalize('NFKC'), salt, KEY_BYTES, options, (error, key) =>
            error ? reject(error) : resolve(key),
          );
        }),
    );
    const done = () => {
      this.#waiting--;
    };
    this.#last = work.then(done, done);
    return work;
  }
}
