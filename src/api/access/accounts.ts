// Who may log in: the owner's password, sessions of whoever logged in, and tokens for programs. Secrets are kept as hashes only;
// sessions live in memory and end with the relay.
import { createHash, randomBytes } from 'node:crypto';
import * as z from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { Refusal } from '../refusal.ts';
import type { Role } from '../route.ts';
import { Guesses } from './guesses.ts';
import { PasswordDesk, passwordHash } from './passwords.ts';
import type { SetupCode } from './setup-code.ts';

export const TOKEN_ROLES = ['viewer', 'operator', 'admin'] as const;
export const MAX_TOKENS = 100;
export const MAX_TOKEN_DAYS = 3650;
export const MAX_SESSIONS = 64;
/** A session ends this long after its login, and sooner when it is not used. */
export const SESSION_MS = 12 * 3_600_000;
export const SESSION_IDLE_MS = 2 * 3_600_000;
const DAY_MS = 24 * 3_600_000;
const USER_KEY = 'api/user';
const TOKENS_KEY = 'api/tokens';

/** What survives restarts; the relay gives its store. */
export interface AccountMemory {
  get(key: string): string | undefined;
  set(key: string, value: string | undefined): void;
  /** Now, not within the second: what was revoked must not come back with a power cut. */
  flush(): void;
}

const savedUser = z.object({ name: z.string(), password: passwordHash, sinceMs: z.number() });
const savedToken = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(TOKEN_ROLES),
  hash: z.string(),
  createdMs: z.number(),
  createdBy: z.string(),
  /** Wall clock; null: no end. */
  expiresMs: z.number().nullable(),
});
type SavedToken = z.output<typeof savedToken>;
export type TokenInfo = Omit<SavedToken, 'hash'> & { readonly lastUsedMs: number | null };

interface Session {
  readonly user: string;
  readonly hash: string;
  readonly csrf: string;
  readonly endsMs: number;
  usedMs: number;
}

/** Whoever holds a good secret. */
export interface Holder {
  readonly name: string;
  readonly role: Exclude<Role, 'public'>;
  readonly by: 'session' | 'token';
  readonly csrf: string;
}

export interface AccountsOptions {
  readonly memory: AccountMemory;
  readonly clock: Clock;
  readonly setupCode: SetupCode;
}

export class Accounts {
  readonly #memory: AccountMemory;
  readonly #clock: Clock;
  readonly #setupCode: SetupCode;
  readonly #passwords = new PasswordDesk();
  readonly #guesses: Guesses;
  #user: z.output<typeof savedUser> | undefined;
  #tokens: SavedToken[];
  readonly #lastUsed = new Map<string, number>();
  /** By the hash of their secret, least recently begun first. */
  readonly #sessions = new Map<string, Session>();

  constructor({ memory, clock, setupCode }: AccountsOptions) {
    this.#memory = memory;
    this.#clock = clock;
    this.#setupCode = setupCode;
    this.#guesses = new Guesses(clock);
    this.#user = read(savedUser, memory.get(USER_KEY));
    this.#tokens = read(z.array(savedToken), memory.get(TOKENS_KEY)) ?? [];
  }

  /** The code that sets the first password; undefined once there is one. */
  get setupCode(): string | undefined {
    return this.#user ? undefined : this.#setupCode.open();
  }

  /** Sets the first password. Resolves to a session. Rejects with Refusal. */
  async setUp(code: string, username: string, password: string, address: string): Promise<string> {
    if (this.#user) throw new Refusal(409, 'already_set_up', 'this box has a password already', { fix: RESET_FIX });
    this.#guesses.begin(address);
    if (!this.#setupCode.matches(code)) {
      throw new Refusal(403, 'wrong_setup_code', 'that is not the setup code of this box', {
        fix: 'it stands on the console when the relay starts, and in the file setup-code of its data folder',
      });
    }
    await this.setPassword(username, password);
    this.#setupCode.end();
    this.#guesses.right(address);
    return this.#begin(username);
  }

  /** Resolves to a new session's secret. Rejects with Refusal. */
  async login(username: string, password: string, address: string): Promise<string> {
    if (!this.#user) {
      throw new Refusal(403, 'not_set_up', 'this box has no password yet', {
        fix: 'set the first one with the setup code: POST /api/setup, or the page',
      });
    }
    this.#guesses.begin(address);
    const known = this.#user.name === username ? this.#user.password : undefined;
    if (!(await this.#passwords.matches(password, known))) {
      throw new Refusal(401, 'wrong_login', 'user name or password is wrong', { fix: RESET_FIX });
    }
    this.#guesses.right(address);
    return this.#begin(username);
  }

  /** Every session ends: whoever knew the old password is out. */
  async setPassword(username: string, password: string): Promise<void> {
    const hash = await this.#passwords.make(password);
    this.#user = { name: username, password: hash, sinceMs: Math.round(this.#clock.wallMs()) };
    this.#sessions.clear();
    this.#memory.set(USER_KEY, JSON.stringify(this.#user));
    this.#memory.flush();
  }

  /** Takes the password away; returns the code that sets a new one. Tokens stay. */
  reset(): string {
    this.#user = undefined;
    this.#sessions.clear();
    this.#memory.set(USER_KEY, undefined);
    this.#memory.flush();
    return this.#setupCode.renew();
  }

  /** Undefined: not a secret of ours, or no longer. Wrong ones are counted against the address. @throws Refusal 429 */
  holder(secret: string, address: string): Holder | undefined {
    this.#guesses.check(address);
    const hash = digest(secret);
    const found = this.#session(hash) ?? this.#token(hash);
    if (!found) this.#guesses.begin(address);
    return found;
  }

  /** A page's cookie; what has ended is no guess. */
  sessionHolder(secret: string): Holder | undefined {
    return this.#session(digest(secret));
  }

  logout(secret: string): void {
    this.#sessions.delete(digest(secret));
  }

  createToken(
    name: string,
    { role, days, by }: { readonly role: SavedToken['role']; readonly days: number | undefined; readonly by: string },
  ): { readonly token: string; readonly info: TokenInfo } {
    this.#dropExpired();
    if (this.#tokens.length >= MAX_TOKENS) {
      throw new Refusal(409, 'too_many_tokens', `there are ${MAX_TOKENS} tokens`, { fix: 'revoke those nobody uses' });
    }
    const nowMs = Math.round(this.#clock.wallMs());
    const id = randomBytes(4).toString('hex');
    const token = `wst_${id}_${randomBytes(32).toString('base64url')}`;
    const expiresMs = days === undefined ? null : nowMs + days * DAY_MS;
    const saved = { id, name, role, hash: digest(token), createdMs: nowMs, createdBy: by, expiresMs };
    this.#tokens = [...this.#tokens, saved];
    this.#saveTokens();
    return { token, info: this.#infoOf(saved) };
  }

  tokens(): readonly TokenInfo[] {
    return this.#tokens.map((token) => this.#infoOf(token));
  }

  /** False: there is no such token. */
  revokeToken(id: string): boolean {
    const rest = this.#tokens.filter((token) => token.id !== id);
    if (rest.length === this.#tokens.length) return false;
    this.#tokens = rest;
    this.#lastUsed.delete(id);
    this.#saveTokens();
    return true;
  }

  #begin(user: string): string {
    const secret = `wss_${randomBytes(32).toString('base64url')}`;
    const nowMs = this.#clock.nowMs();
    const hash = digest(secret);
    const csrf = randomBytes(24).toString('base64url');
    this.#sessions.set(hash, { user, hash, csrf, endsMs: nowMs + SESSION_MS, usedMs: nowMs });
    if (this.#sessions.size > MAX_SESSIONS) this.#sessions.delete(this.#sessions.keys().next().value!);
    return secret;
  }

  #session(hash: string): Holder | undefined {
    const session = this.#sessions.get(hash);
    if (!session) return undefined;
    const nowMs = this.#clock.nowMs();
    if (nowMs >= session.endsMs || nowMs - session.usedMs >= SESSION_IDLE_MS) {
      this.#sessions.delete(hash);
      return undefined;
    }
    session.usedMs = nowMs;
    return { name: session.user, role: 'admin', by: 'session', csrf: session.csrf };
  }

  #token(hash: string): Holder | undefined {
    const nowMs = this.#clock.wallMs();
    const token = this.#tokens.find((one) => one.hash === hash);
    if (!token || (token.expiresMs !== null && nowMs >= token.expiresMs)) return undefined;
    this.#lastUsed.set(token.id, Math.round(nowMs));
    return { name: token.name, role: token.role, by: 'token', csrf: '' };
  }

  #infoOf({ hash: _, ...info }: SavedToken): TokenInfo {
    return { ...info, lastUsedMs: this.#lastUsed.get(info.id) ?? null };
  }

  #dropExpired(): void {
    const nowMs = this.#clock.wallMs();
    this.#tokens = this.#tokens.filter(({ expiresMs }) => expiresMs === null || expiresMs > nowMs);
  }

  #saveTokens(): void {
    this.#memory.set(TOKENS_KEY, JSON.stringify(this.#tokens));
    this.#memory.flush();
  }
}

const RESET_FIX = 'forgotten? "waystation token reset-password" on the box gives a new setup code';

/** Of 32 random bytes: nothing to guess, so no salt and no cost. */
function digest(secret: string): string {
  return createHash('sha256').update(secret).digest('base64');
}

/** What was saved; undefined when it is missing or not of this form (then it is worth nothing). */
function read<Schema extends z.ZodType>(schema: Schema, text: string | undefined): z.output<Schema> | undefined {
  if (text === undefined) return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
