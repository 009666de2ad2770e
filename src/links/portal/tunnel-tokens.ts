// One-time tokens: who comes with one is let in as the one it was handed to, once and soon. Kept as hashes, so that neither
// a look-up's time nor a memory dump tells a token.
import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { MAX_SPENT_TOKENS, MAX_TOKENS, TOKEN_BYTES, TOKEN_LIFE_MS } from './tunnel-limits.ts';

/** Why a token is not taken. */
export type TokenRefusal = 'token_unknown' | 'token_used' | 'token_expired';

interface Entry<Holder> {
  readonly holder: Holder;
  readonly cancelExpiry: () => void;
}

/** Tokens and what each of them stands for. */
export class TokenTable<Holder> {
  readonly #clock: Clock;
  readonly #onExpiry: (holder: Holder) => void;
  readonly #live = new Map<string, Entry<Holder>>();
  readonly #spent = new Map<string, TokenRefusal>();

  /** @param onExpiry told of a token that nobody came with in time */
  constructor(clock: Clock, onExpiry: (holder: Holder) => void) {
    this.#clock = clock;
    this.#onExpiry = onExpiry;
  }

  get size(): number {
    return this.#live.size;
  }

  /** A new token, 43 characters of base64url; undefined when too many are on their way. */
  mint(holder: Holder): string | undefined {
    if (this.#live.size >= MAX_TOKENS) return undefined;
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const hash = hashOf(token);
    const cancelExpiry = this.#clock.after(TOKEN_LIFE_MS, () => {
      this.#spend(hash, 'token_expired');
      this.#onExpiry(holder);
    });
    this.#live.set(hash, { holder, cancelExpiry });
    return token;
  }

  /** Takes a token in. It is used up by this. */
  redeem(token: string): { readonly holder: Holder } | TokenRefusal {
    const hash = hashOf(token);
    const entry = this.#live.get(hash);
    if (!entry) return this.#spent.get(hash) ?? 'token_unknown';
    entry.cancelExpiry();
    this.#spend(hash, 'token_used');
    return entry;
  }

  /** Makes a token worthless before its time; its holder is not told. */
  revoke(token: string): void {
    const hash = hashOf(token);
    this.#live.get(hash)?.cancelExpiry();
    if (this.#live.has(hash)) this.#spend(hash, 'token_expired');
  }

  /** Makes all worthless. */
  clear(): void {
    for (const { cancelExpiry } of this.#live.values()) cancelExpiry();
    this.#live.clear();
  }

  #spend(hash: string, why: TokenRefusal): void {
    this.#live.delete(hash);
    this.#spent.set(hash, why);
    const [oldest] = this.#spent.keys();
    if (oldest !== undefined && this.#spent.size > MAX_SPENT_TOKENS) this.#spent.delete(oldest);
  }
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
