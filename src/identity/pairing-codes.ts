// The code by which another box may join: one at a time, good once and for a while, and only a few may be tried, restarts or not.
// Which code a try is compared with is the pairing's business; here it is counted.
import { randomInt } from 'node:crypto';
import { sourceOf } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { LinkError } from '../lib/errors.ts';
import type { CodeKeep } from './kept-code.ts';

/** Without what is mistaken for something else, read aloud or on a screen: 0 and O, 1 and I and L, U and V. */
const LETTERS = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
export const CODE_LENGTH = 8;
export const CODE_LIFE_MS = 15 * 60_000;
/** Wrong tries of one source, and of all, against one code. */
export const TRIES_OF_ONE = 5;
export const TRIES_OF_ALL = 20;

/** A try under way. */
export interface Attempt<Terms> {
  readonly code: string;
  readonly terms: Terms;
  /** It was the right one: the code is used up. False: it is no longer good, somebody else was faster. */
  claim(): boolean;
}

export interface OpenCode<Terms> {
  readonly code: string;
  readonly terms: Terms;
  /** Monotonic. */
  readonly endsMs: number;
  readonly triesLeft: number;
}

interface Current<Terms> {
  readonly code: string;
  readonly terms: Terms;
  readonly endsMs: number;
  readonly tries: Map<string, number>;
  count: number;
}

export class PairingCodes<Terms> {
  readonly #clock: Clock;
  readonly #keep: CodeKeep<Terms> | undefined;
  #current: Current<Terms> | undefined;
  #cancelEnd = () => {};

  /** `keep`: where the code outlives a restart; what was open before is open again. */
  constructor(clock: Clock, keep?: CodeKeep<Terms>) {
    this.#clock = clock;
    this.#keep = keep;
    const kept = keep?.read();
    if (!kept) return;
    const { code, terms, endsAtMs, notedAtMs, leftMs, tries } = kept;
    const wallMs = clock.wallMs();
    // A clock that has gone back does not know for how long the box was off.
    const restMs = wallMs < notedAtMs ? leftMs : Math.min(leftMs, endsAtMs - wallMs);
    const counts = new Map(Object.entries(tries));
    const count = [...counts.values()].reduce((sum, one) => sum + one, 0);
    this.#become({ code, terms, endsMs: clock.nowMs() + restMs, tries: counts, count });
  }

  /** A new one; the one before is no longer good. `terms`: what whoever uses it is given. */
  make(terms: Terms, lifeMs = CODE_LIFE_MS): OpenCode<Terms> {
    const code = Array.from({ length: CODE_LENGTH }, () => LETTERS[randomInt(LETTERS.length)]).join('');
    this.#become({ code, terms, endsMs: this.#clock.nowMs() + lifeMs, tries: new Map(), count: 0 });
    return this.open!;
  }

  /** Who has joined stays joined. */
  clear(): void {
    this.#become(undefined);
  }

  get open(): OpenCode<Terms> | undefined {
    const current = this.#live();
    if (!current) return undefined;
    const { code, terms, endsMs, count } = current;
    return { code, terms, endsMs, triesLeft: TRIES_OF_ALL - count };
  }

  /** Counted before it is known to be wrong: a hundred at once are a hundred. @throws LinkError no_code, too_many_codes */
  begin(address: string): Attempt<Terms> {
    const current = this.#live();
    if (!current) throw new LinkError('no_code', 'no code is open here', NO_CODE_FIX);
    if (current.count >= TRIES_OF_ALL) {
      throw new LinkError(
        'too_many_codes',
        `${TRIES_OF_ALL} wrong codes were tried: this one is no longer good`,
        NO_CODE_FIX,
      );
    }
    const source = sourceOf(address);
    const before = current.tries.get(source) ?? 0;
    if (before >= TRIES_OF_ONE) {
      throw new LinkError('too_many_codes', `${TRIES_OF_ONE} wrong codes came from there`, NO_CODE_FIX);
    }
    current.tries.set(source, before + 1);
    current.count++;
    this.#note();
    const { code, terms } = current;
    return { code, terms, claim: () => this.#claim(current) };
  }

  #claim(current: Current<Terms>): boolean {
    if (this.#live() !== current) return false;
    this.#become(undefined);
    return true;
  }

  #live(): Current<Terms> | undefined {
    if (this.#current && this.#current.endsMs <= this.#clock.nowMs()) this.#become(undefined);
    return this.#current;
  }

  #become(current: Current<Terms> | undefined): void {
    this.#cancelEnd();
    this.#current = current;
    this.#note();
    // What is over does not stay on the disk until somebody asks.
    if (current) this.#cancelEnd = this.#clock.after(current.endsMs - this.#clock.nowMs(), () => this.#live());
  }

  #note(): void {
    if (!this.#current) return this.#keep?.write(undefined);
    const { code, terms, endsMs, tries } = this.#current;
    const [leftMs, notedAtMs] = [endsMs - this.#clock.nowMs(), this.#clock.wallMs()];
    const times = { endsAtMs: notedAtMs + leftMs, notedAtMs, leftMs };
    this.#keep?.write({ code, terms, ...times, tries: Object.fromEntries(tries) });
  }
}

const NO_CODE_FIX =
  'Have a new one made at the other box ("waystation federation code"), and use it within 15 minutes.';

/** As people type and say it: case, spaces and dashes do not count. '' when it cannot be one. */
export function plainCode(said: string): string {
  const plain = said.toUpperCase().replace(/[\s-]/g, '');
  return plain.length === CODE_LENGTH && [...plain].every((letter) => LETTERS.includes(letter)) ? plain : '';
}
