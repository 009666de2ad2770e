// A peer's line, and how to use it: what its link's budget allows, what its session measured, what the peer's screens show.
// Where nothing is known to be thin, nothing here costs or changes anything.
import type { LinkBudget } from './budget.ts';
import { Scales } from './budget.ts';
import { type Envelope, FILE, isPositionLane, sizeOf, type TrackOf } from './message.ts';
import { paceOf } from './pace.ts';
import type { Terms } from './queue.ts';
import type { Pace, Session } from './session.ts';
import { Shown } from './shown.ts';

/** A line that carries less is thin: what goes first is chosen by what it tells. Bits per second. */
export const THIN_BPS = 512_000;

export interface LineStatus extends Pace {
  /** What goes first is chosen by what it tells. */
  readonly thin: boolean;
  readonly goodputBps: number | null;
  readonly transitMs: number | null;
}

export class Line {
  readonly budget: LinkBudget;
  #session: Session | undefined;
  /** The session may come to say what its line carries. */
  #measures = false;
  readonly #trackOf: TrackOf | undefined;
  #shown: Shown;
  #scales = new Scales();

  constructor(budget: LinkBudget, trackOf?: TrackOf) {
    this.budget = budget;
    this.#trackOf = trackOf;
    this.#shown = new Shown(trackOf);
  }

  begin(session: Session): void {
    this.#session = session;
    this.#measures = 'goodputBps' in session;
    this.#shown = new Shown(this.#trackOf);
    this.#scales = new Scales();
  }

  end(): void {
    this.#session = undefined;
  }

  /** Nothing limits it, nothing is counted: straight onto the wire. */
  get isFree(): boolean {
    return !this.budget.counts && !(this.#measures && (this.#session?.goodputBps ?? THIN_BPS) < THIN_BPS);
  }

  /** A file that is larger than what is left of the day. */
  cannotPay(envelope: Envelope): boolean {
    return envelope.lane === FILE && this.budget.counts && sizeOf(envelope) > this.budget.leftToday();
  }

  /** Monotonic time from which a message is worth sending; 0: at once. */
  dueMs(envelope: Envelope): number {
    const chooses = this.#isThin || this.budget.metered;
    return chooses && this.#session && isPositionLane(envelope.lane)
      ? this.#shown.dueMs(envelope, this.budget.metered)
      : 0;
  }

  terms(nowMs: number): Terms {
    const terms: Terms = { transitMs: this.#session?.transitMs };
    if (this.isFree) return terms;
    const budget = { lanes: this.budget.openLanes(), frugal: this.budget.metered };
    if (!this.#isThin) return { ...terms, ...budget };
    return { ...terms, ...budget, worth: (envelope, sinceMs) => this.#shown.worth(envelope, sinceMs, nowMs) };
  }

  /** It was handed to the wire. */
  sent(envelope: Envelope): void {
    if (this.isFree) return;
    this.budget.spend(this.#scales.weigh(envelope, this.#session?.sentBytes, this.pace().recordBytes));
    if (isPositionLane(envelope.lane)) this.#shown.note(envelope);
  }

  pace(): Pace {
    return paceOf(this.#rateBps);
  }

  status(): LineStatus {
    const { goodputBps = null, transitMs = null } = this.#session ?? {};
    return { ...this.pace(), thin: this.#isThin, goodputBps, transitMs };
  }

  /** The less of what is allowed and what arrives. */
  get #rateBps(): number | undefined {
    const { rateBps } = this.budget;
    const goodputBps = this.#session?.goodputBps;
    if (rateBps === undefined) return goodputBps;
    return goodputBps === undefined ? rateBps : Math.min(rateBps, goodputBps);
  }

  get #isThin(): boolean {
    return (this.#rateBps ?? Number.POSITIVE_INFINITY) < THIN_BPS;
  }
}
