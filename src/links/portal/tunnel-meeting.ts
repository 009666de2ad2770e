// One tunnel at the hub: two tokens given out, two guests to come, one splice between them.
import type { LinkContext } from '../link.ts';
import { Splice, type SpliceEnd } from './splice.ts';
import type { Guest, Host, SpliceDesk } from './tunnel-desk.ts';
import { TUNNEL_IDLE_MS, TUNNEL_LINGER_MS, TUNNEL_STALL_MS } from './tunnel-limits.ts';
import type { TunnelQuota } from './tunnel-quota.ts';
import type { Refusal } from './tunnel-words.ts';

/** Told once. `end` undefined: it never came to a splice. */
export type OnMeetingEnd = (end: SpliceEnd | undefined, bytes: number) => void;

export class Meeting {
  readonly #desk: SpliceDesk;
  readonly #quota: TunnelQuota;
  readonly #context: LinkContext;
  readonly #onEnd: OnMeetingEnd;
  readonly #tokens: string[] = [];
  #waiting: Guest | undefined;
  #splice: Splice | undefined;
  #over = false;

  /** @param quota has counted this tunnel already; it is told of its end */
  constructor(desk: SpliceDesk, quota: TunnelQuota, context: LinkContext, onEnd: OnMeetingEnd) {
    this.#desk = desk;
    this.#quota = quota;
    this.#context = context;
    this.#onEnd = onEnd;
  }

  get over(): boolean {
    return this.#over;
  }

  /** A token for one side; undefined: too many are on their way. */
  invite(): string | undefined {
    const host: Host = { arrived: (guest) => this.#arrived(guest), expired: () => this.cancel(MISSING) };
    const token = this.#desk.expect(host);
    if (token !== undefined) this.#tokens.push(token);
    return token;
  }

  /** Ends it with that refusal for whoever waits, unless it is a splice by now. */
  cancel(refusal: Refusal): void {
    if (this.#splice || this.#over) return;
    this.#waiting?.refuse(refusal);
    this.#end(undefined, 0);
  }

  /** How long nothing has passed; 0 before it is open. */
  get silentMs(): number {
    return this.#splice?.silentMs ?? 0;
  }

  close(end: 'shutdown' | 'superseded'): void {
    if (this.#splice) return this.#splice.close(end);
    this.#waiting?.socket.destroy();
    if (!this.#over) this.#end(undefined, 0);
  }

  #arrived(guest: Guest): void {
    if (this.#over) return guest.refuse(MISSING);
    if (this.#waiting) return this.#join(this.#waiting, guest);
    this.#waiting = guest;
    guest.socket.once('close', this.#left);
  }

  readonly #left = (): void => this.cancel(MISSING);

  #join(one: Guest, other: Guest): void {
    one.socket.off('close', this.#left);
    const { clock } = this.#context;
    this.#splice = new Splice(one.socket, other.socket, {
      clock,
      idleMs: TUNNEL_IDLE_MS,
      lingerMs: TUNNEL_LINGER_MS,
      stallMs: TUNNEL_STALL_MS,
      spend: (bytes) => this.#quota.spend(bytes),
      onEnd: (end, bytes) => this.#end(end, bytes),
    });
    one.welcome();
    other.welcome();
    this.#splice.begin();
  }

  #end(end: SpliceEnd | undefined, bytes: number): void {
    this.#over = true;
    for (const token of this.#tokens) this.#desk.forget(token);
    this.#quota.end();
    this.#onEnd(end, bytes);
  }
}

const MISSING: Refusal = { status: 504, code: 'other_side_missing', words: 'the other side did not come in time' };
