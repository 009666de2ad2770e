// What a link may cost: bits per second, bytes a day. All peers of a link share it: whoever waits is served in turn, who has an
// alert first. What does not fit stays in the queues, where it can still be replaced.
import type { Clock } from '../lib/clock.ts';
import { TokenBucket } from '../lib/token-bucket.ts';
import { type Envelope, LANES, MOVING, sizeOf } from './message.ts';

export const PROFILES = ['lan', 'lte', 'satcom', 'hf'] as const;
export type Profile = (typeof PROFILES)[number];

export interface Budget {
  readonly profile: Profile;
  /** Bits per second; undefined: as many as the line takes. */
  readonly rateBps: number | undefined;
  /** Bytes in a day, which ends at midnight UTC; undefined: no end to them. */
  readonly perDayBytes: number | undefined;
  /** Each byte costs something: what tells nothing new is not sent, even where the line is idle. */
  readonly metered: boolean;
}

/** What a profile says where the configuration says nothing else. */
export const PROFILE_BUDGETS: Readonly<Record<Profile, Budget>> = {
  lan: { profile: 'lan', rateBps: undefined, perDayBytes: undefined, metered: false },
  lte: { profile: 'lte', rateBps: 4_000_000, perDayBytes: 1_000_000_000, metered: true },
  satcom: { profile: 'satcom', rateBps: 64_000, perDayBytes: 20_000_000, metered: true },
  hf: { profile: 'hf', rateBps: 2_400, perDayBytes: undefined, metered: false },
};

export const NO_BUDGET: Budget = PROFILE_BUDGETS.lan;

/** What was sent on which day, counted from the epoch, UTC. */
export interface Usage {
  readonly day: number;
  readonly bytes: number;
}

export interface BudgetStatus extends Budget {
  readonly usedTodayBytes: number;
  /** Lanes that today's allowance no longer pays for. */
  readonly closedLanes: readonly string[];
}

/** A peer, as its link's budget sees it. */
export interface Spender {
  /** An alert waits. */
  readonly urgent: boolean;
  /** Its turn has come. */
  pump(): void;
}

export const DAY_MS = 86_400_000;
/** Saved up when nothing is sent: hides the coarseness of timers, and is no burst worth the name. */
const BURST_S = 0.05;
/** What is left for alerts, chat and markers when positions have had their part of the day's bytes. */
const KEPT_PART = 0.1;
/** IP, TCP and TLS around one message, where the link does not count. */
const OVERHEAD_BYTES = 62;
/** So much must have gone out before what messages weigh is corrected by what the link counted. */
const CALIBRATE_BYTES = 2048;
/** What a message pays at once at most, however small the pieces in which it goes. */
const PAID_AT_ONCE = 512;

export class LinkBudget {
  #budget: Budget;
  /** Whether anything is limited or counted at all. */
  counts = false;
  readonly #clock: Clock;
  #bucket: TokenBucket | undefined;
  #day: number;
  /** The latest day there was. */
  #lastDay: number;
  /** When the day began, as far as this clock knows; monotonic. */
  #beganMs: number;
  #usedBytes: number;
  readonly #waiting = new Set<Spender>();
  #serving: Spender | undefined;
  #cancel: (() => void) | undefined;

  constructor(budget: Budget, clock: Clock) {
    this.#clock = clock;
    this.#budget = budget;
    this.#begin();
    this.#day = this.#lastDay = this.#today();
    this.#beganMs = clock.nowMs();
    this.#usedBytes = 0;
  }

  /** Bits per second that may be sent; undefined: nothing is said of it. */
  get rateBps(): number | undefined {
    return this.#budget.rateBps;
  }

  get metered(): boolean {
    return this.#budget.metered;
  }

  get usage(): Usage {
    this.#turnDay();
    return { day: this.#day, bytes: this.#usedBytes };
  }

  status(): BudgetStatus {
    return { ...this.#budget, usedTodayBytes: this.usage.bytes, closedLanes: LANES.slice(this.openLanes()) };
  }

  /** What was spent before this relay started. */
  restore({ day, bytes }: Usage): void {
    this.#turnDay();
    if (day === this.#day) this.#usedBytes += bytes;
  }

  set(budget: Budget): void {
    this.#budget = budget;
    this.#begin();
    this.#serve();
  }

  /** How many lanes, the most urgent first, today's allowance still pays for. Alerts always pass. */
  openLanes(): number {
    const { perDayBytes } = this.#budget;
    if (perDayBytes === undefined) return LANES.length;
    const left = this.leftToday();
    if (left <= 0) return 1;
    return left <= perDayBytes * KEPT_PART ? MOVING : LANES.length;
  }

  /** What today's allowance has left; Infinity: there is none to keep to. */
  leftToday(): number {
    return (this.#budget.perDayBytes ?? Number.POSITIVE_INFINITY) - this.usage.bytes;
  }

  /** Whether this peer may send now; if not, it is pumped when its turn has come. */
  turn(spender: Spender): boolean {
    if (!this.#bucket) return true;
    const first = this.#waiting.size === 0 || this.#serving === spender;
    if (first && this.#bucket.debtMs() === 0) return true;
    this.#waiting.add(spender);
    this.#later();
    return false;
  }

  spend(bytes: number): void {
    this.#turnDay();
    this.#usedBytes += bytes;
    this.#bucket?.take(bytes);
  }

  /** The peer is gone. */
  leave(spender: Spender): void {
    this.#waiting.delete(spender);
  }

  #begin(): void {
    const { rateBps, perDayBytes, metered } = this.#budget;
    this.counts = rateBps !== undefined || perDayBytes !== undefined || metered;
    const perSecond = (rateBps ?? 0) / 8;
    this.#bucket =
      rateBps === undefined ? undefined : new TokenBucket(perSecond, perSecond * BURST_S, () => this.#clock.nowMs());
  }

  #later(): void {
    this.#cancel ??= this.#clock.after(this.#bucket?.debtMs() ?? 0, () => {
      this.#cancel = undefined;
      this.#serve();
    });
  }

  #serve(): void {
    while (this.#waiting.size > 0 && (this.#bucket?.debtMs() ?? 0) === 0) {
      const next = this.#nextInTurn();
      this.#waiting.delete(next);
      this.#serving = next;
      next.pump();
      this.#serving = undefined;
    }
    if (this.#waiting.size > 0) this.#later();
  }

  #nextInTurn(): Spender {
    let first: Spender | undefined;
    for (const spender of this.#waiting) {
      if (spender.urgent) return spender;
      first ??= spender;
    }
    return first!;
  }

  #today(): number {
    return Math.floor(this.#clock.wallMs() / DAY_MS);
  }

  /** A clock that jumps about does not give a day's bytes twice, nor does one that once was far ahead withhold them. */
  #turnDay(): void {
    const today = this.#today();
    const begins = today > this.#lastDay || this.#clock.nowMs() - this.#beganMs >= DAY_MS;
    if (today === this.#day || !begins) return;
    this.#day = today;
    this.#lastDay = Math.max(this.#lastDay, today);
    this.#beganMs = this.#clock.nowMs();
    this.#usedBytes = 0;
  }
}

/**
 * What a session's messages weigh on the line. Where the link counts what it sends, that is what is paid in the end: it may
 * compress, pack many into one record, or send a large one in pieces between which others go.
 */
export class Scales {
  /** Of what a message weighs in the queue, what the link made of it. */
  #ratio = 1;
  #weighed = 0;
  #counted = 0;
  #paid = 0;

  /**
   * What is to be paid now that a message goes.
   * @param sentBytes what the link has sent so far, without this one
   * @param recordBytes of a larger message only this much is paid now, the rest when the link has counted it
   */
  weigh(envelope: Envelope, sentBytes: number | undefined, recordBytes: number): number {
    if (sentBytes === undefined) return sizeOf(envelope) + OVERHEAD_BYTES;
    const unpaid = Math.max(0, sentBytes - this.#paid);
    if (this.#weighed >= CALIBRATE_BYTES) this.#calibrate(sentBytes);
    const bytes = Math.min(sizeOf(envelope), Math.max(PAID_AT_ONCE, recordBytes));
    this.#weighed += bytes;
    const due = Math.max(1, Math.round(bytes * this.#ratio + unpaid));
    this.#paid += due;
    return due;
  }

  #calibrate(sentBytes: number): void {
    const found = (sentBytes - this.#counted) / this.#weighed;
    if (found > 0) this.#ratio = Math.min(1.5, Math.max(0.02, found));
    this.#counted = sentBytes;
    this.#weighed = 0;
    this.#paid = sentBytes;
  }
}
