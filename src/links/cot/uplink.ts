// One phone's own connection to a server that knows one contact for each connection: dialled, bound to the phone by its
// position, dialled again when it breaks, given up when the phone is gone for good.
import type { CotEvent, Envelope } from '../../core/message.ts';
import type { SessionPort } from '../../core/session.ts';
import { childController } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { LinkContext } from '../link.ts';
import type { Self } from './client-role.ts';
import { UPLINK_BACKOFF, UPLINK_HEALTHY_MS } from './limits.ts';
import type { CotSession, Ending } from './session.ts';

/** Opens a connection as `self`, whose session hands what it reads to `port`. Rejects with LinkError. */
export type OpenSession = (self: Self, port: SessionPort, context: LinkContext) => Promise<CotSession>;

/** The position of a unit as it is written to this server; undefined: too large for it. */
export type WritePosition = (envelope: Envelope) => Buffer | undefined;

export class Uplink {
  readonly uid: string;
  readonly callsign: string;
  /** Monotonic time from which it may be dialled. */
  dueMs = 0;
  /** Why it is not up; '' while nothing went wrong. */
  trouble = '';
  readonly #context: LinkContext;
  readonly #backoff = new Backoff(UPLINK_BACKOFF);
  readonly #abort: () => void;
  #position: Envelope;
  #session: CotSession | undefined;
  #state: 'waiting' | 'dialling' | 'up' | 'over' = 'waiting';
  #cancelGrace: (() => void) | undefined;
  /** The notice that the phone left, kept back: it may return. */
  #leave: Envelope | undefined;
  /** Bytes sent by connections of before. */
  #sentBefore = 0;

  constructor(position: Envelope, { uid, callsign }: CotEvent, context: LinkContext) {
    const { controller, release } = childController(context.signal);
    this.#context = { ...context, signal: controller.signal, report() {} };
    this.#abort = () => {
      controller.abort();
      release();
    };
    this.uid = uid;
    this.callsign = callsign;
    this.#position = position;
  }

  /** Another peer speaks under this uid and another callsign while this one is here: it may not end its connection. */
  isForeign(position: Envelope, callsign: string): boolean {
    return callsign !== this.callsign && position.from !== this.#position.from && !this.#leave;
  }

  get waiting(): boolean {
    return this.#state === 'waiting';
  }

  get up(): boolean {
    return this.#state === 'up';
  }

  get busy(): boolean {
    return this.#session?.busy ?? false;
  }

  get sentBytes(): number {
    return this.#sentBefore + (this.#session?.sentBytes ?? 0);
  }

  /** Monotonic time from which its last position is worth nothing. */
  get staleMs(): number {
    return this.#position.expiresMs;
  }

  /** Dials, and resolves when the connection is up or has failed; `ended` is called when it was up and is over. Never rejects. */
  async open(open: OpenSession, write: WritePosition, port: SessionPort, ended: () => void): Promise<void> {
    this.#state = 'dialling';
    const self: Self = {
      uid: this.uid,
      callsign: this.callsign,
      position: () => write(this.#position) ?? Buffer.alloc(0),
      attached: () => {},
    };
    try {
      const session = await open(self, port, this.#context);
      if (this.#isOver) return session.close('shutdown');
      this.#become(session, ended);
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  #become(session: CotSession, ended: () => void): void {
    const sinceMs = this.#context.clock.nowMs();
    this.#session = session;
    this.#state = 'up';
    this.trouble = '';
    void session.closed.then((ending) => {
      this.#sentBefore += session.sentBytes;
      this.#session = undefined;
      if (this.#context.clock.nowMs() - sinceMs >= UPLINK_HEALTHY_MS) this.#backoff.reset();
      this.#failed(ending.cause ?? new Error(wordsOf(ending)));
      ended();
    });
  }

  #failed(error: Error): void {
    if (this.#isOver) return;
    this.#state = 'waiting';
    this.#context.log.debug({ uid: this.uid, reason: error.message }, 'connection of a phone failed');
    this.trouble = error.message;
    this.dueMs = this.#context.clock.nowMs() + this.#backoff.nextMs();
  }

  get #isOver(): boolean {
    return this.#state === 'over';
  }

  /** False: it is not up, or has no room. */
  send(envelope: Envelope): boolean {
    return this.#state === 'up' && (this.#session?.send(envelope) ?? false);
  }

  /** The phone is here. Returns the notice of its leaving that was kept back and is void now. */
  here(position: Envelope): Envelope | undefined {
    const void_ = this.#leave;
    this.#position = position;
    this.#leave = undefined;
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    return void_;
  }

  /** The phone left; `over` is called with the notice when it was not back in time. */
  left(notice: Envelope, graceMs: number, over: (notice: Envelope) => void): void {
    this.#cancelGrace?.();
    this.#leave = notice;
    this.#cancelGrace = this.#context.clock.after(graceMs, () => over(notice));
  }

  /** Ends it for good. Resolves with the socket closed. */
  async close(): Promise<void> {
    this.#cancelGrace?.();
    this.#state = 'over';
    this.#abort();
    await this.#session?.closed;
  }
}

function wordsOf({ heard }: Ending): string {
  return heard ? 'the server closed the connection' : 'the server closed the connection without a word';
}
