// Where splice connections arrive: each shows its token and is handed to whoever the token was made for.
import type { Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import type { LinkContext } from '../link.ts';
import { peerAddress } from '../stream.ts';
import { MAX_NAMELESS, SPLICE_REQUEST_MS } from './tunnel-limits.ts';
import { readSpliceToken, spliceAccepted, spliceRefused } from './tunnel-opening.ts';
import { type TokenRefusal, TokenTable } from './tunnel-tokens.ts';
import type { Refusal } from './tunnel-words.ts';

/** A connection whose token was good. It waits for one of the two answers. */
export interface Guest {
  readonly socket: Socket;
  /** 200: from now on the socket belongs to the tunnel. */
  welcome(): void;
  refuse(refusal: Refusal): void;
}

/** Whoever waits for a token to come back. Exactly one of the two is called, unless the desk closes. */
export interface Host {
  arrived(guest: Guest): void;
  /** Nobody came in time. */
  expired(): void;
}

const TOKEN_WORDS: Readonly<Record<TokenRefusal, string>> = {
  token_unknown: 'no such token was given out here',
  token_used: 'this token was used before',
  token_expired: 'this token came too late',
};

export class SpliceDesk {
  readonly #context: LinkContext;
  readonly #tokens: TokenTable<Host>;
  readonly #nameless = new Set<Socket>();

  constructor(context: LinkContext) {
    this.#context = context;
    this.#tokens = new TokenTable(context.clock, (host) => host.expired());
  }

  /** A token for `host` to give away; undefined: too many are on their way. */
  expect(host: Host): string | undefined {
    return this.#tokens.mint(host);
  }

  /** The token is not good any more; its host is not told. */
  forget(token: string): void {
    this.#tokens.revoke(token);
  }

  /** Takes over a connection that began with the magic in clear; `firstBytes` were read of it. */
  accept(socket: Socket, firstBytes: Buffer): void {
    socket.pause();
    socket.on('error', () => socket.destroy());
    if (firstBytes.length > 0) socket.unshift(firstBytes);
    const [oldest] = this.#nameless;
    // Not the newcomer: an honest request is here in a moment, and those that take the places forever would win.
    if (oldest && this.#nameless.size >= MAX_NAMELESS) oldest.destroy();
    this.#nameless.add(socket);
    socket.once('close', () => this.#nameless.delete(socket));
    this.#hear(socket, peerAddress(socket)).catch((error: Error) => this.#fail(socket, error));
  }

  close(): void {
    this.#tokens.clear();
    for (const socket of this.#nameless) socket.destroy();
  }

  async #hear(socket: Socket, address: string): Promise<void> {
    const { clock, signal } = this.#context;
    const token = await readSpliceToken(socket, { clock, signal, ms: SPLICE_REQUEST_MS });
    this.#nameless.delete(socket);
    const found = this.#tokens.redeem(token);
    if (typeof found === 'object') return found.holder.arrived(guest(socket, clock));
    const words = TOKEN_WORDS[found];
    this.#context.refuse(address, { code: found, words, fix: TOKEN_FIX });
    guest(socket, clock).refuse({ status: found === 'token_unknown' ? 404 : 410, code: found, words });
  }

  #fail(socket: Socket, error: Error): void {
    const address = peerAddress(socket);
    socket.destroy();
    if (this.#context.signal.aborted || address === '') return;
    const known = error instanceof ProtocolError || error instanceof LinkError;
    if (!known) this.#context.log.error({ err: error }, 'a splice connection met a fault of ours');
    const code = known ? error.code : 'internal_error';
    this.#context.refuse(address, { code, words: error.message, fix: STRANGER_FIX });
  }
}

function guest(socket: Socket, clock: Clock): Guest {
  return {
    socket,
    welcome: () => void socket.write(spliceAccepted()),
    refuse(refusal) {
      socket.end(spliceRefused(refusal));
      // The far end has read it once it hangs up; what it says meanwhile is thrown away.
      socket.resume();
      socket.once(
        'close',
        clock.after(REFUSED_MS, () => socket.destroy()),
      );
    },
  };
}

/** A refused connection is closed after this long at the latest. */
const REFUSED_MS = 5_000;
const TOKEN_FIX = 'It tries again by itself. If it stays so, the way through this hub is slower than a token lives.';
const STRANGER_FIX =
  'Something speaks the clear-text opening of a tunnel here and gets it wrong: if it is no relay, keep it out.';
