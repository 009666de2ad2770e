// Whether the far end still lives, by one timer. Any byte is life; a peer that is merely quiet is asked now and then; one that
// owes us something and is silent is asked soon, then suspected, and given up when it does not answer.
import type { Clock } from '../../lib/clock.ts';
import { ASK_MS, PING_PATIENCE_MS, SILENCE_MS } from './limits.ts';

export interface LifeEvents {
  /** Since when the peer owes us something (an acknowledgement, a response), monotonic; undefined: it does not. */
  owedSinceMs(): number | undefined;
  /** How long an answer may take beyond PING_PATIENCE_MS: what is under way, and round trips. */
  patienceMs(): number;
  /** The quiet after which to ask for a sign of life. */
  quietMs(): number;
  /** Ask for a sign of life. */
  ping(): void;
  /** Silence of a peer that owes us something. Once, until it is heard again. */
  suspect(): void;
  /** It was suspected, and is heard again. */
  recovered(): void;
  /** A sign of life came for a ping that was sent after this much quiet. */
  survived(quietMs: number): void;
  /** It is dead; the last ping was sent after this much quiet. */
  dead(quietMs: number): void;
}

interface Asked {
  readonly atMs: number;
  /** The quiet before it. */
  readonly quietMs: number;
  /** Since when it is silent although it owes us something: the ping's answer, at the latest. */
  readonly silentSinceMs: number;
}

export class Life {
  readonly #clock: Clock;
  readonly #events: LifeEvents;
  #heardMs: number;
  /** The ping that nothing was heard since; undefined: none. */
  #asked: Asked | undefined;
  #suspected = false;
  #cancel = () => {};

  constructor(clock: Clock, events: LifeEvents) {
    this.#clock = clock;
    this.#events = events;
    this.#heardMs = clock.nowMs();
    this.look();
  }

  /** Monotonic time of the last sign of life. */
  get heardMs(): number {
    return this.#heardMs;
  }

  heard(): void {
    this.#heardMs = this.#clock.nowMs();
    if (this.#asked) {
      const { quietMs } = this.#asked;
      this.#asked = undefined;
      this.#events.survived(quietMs);
    }
    if (!this.#suspected) return;
    this.#suspected = false;
    this.#events.recovered();
  }

  stop(): void {
    this.#cancel();
    this.#cancel = () => {};
  }

  /** Looks how things stand, and sets the timer for when to look again. To be called when the peer begins to owe us something. */
  look(): void {
    this.#cancel();
    const nowMs = this.#clock.nowMs();
    const dueMs = this.#asked ? this.#awaited(nowMs, this.#asked) : this.#quiet(nowMs);
    if (dueMs !== undefined) this.#cancel = this.#clock.after(Math.max(1, dueMs - nowMs), () => this.look());
  }

  /** A ping is out. Returns when to look again; undefined: it is over. */
  #awaited(nowMs: number, { atMs, quietMs, silentSinceMs }: Asked): number | undefined {
    const deadMs = atMs + Math.max(PING_PATIENCE_MS, this.#events.patienceMs());
    if (nowMs >= deadMs) {
      this.#events.dead(quietMs);
      return undefined;
    }
    const suspectMs = silentSinceMs + SILENCE_MS;
    if (nowMs >= suspectMs) this.#suspect();
    return nowMs >= suspectMs ? deadMs : Math.min(deadMs, suspectMs);
  }

  #quiet(nowMs: number): number {
    const owedMs = this.#events.owedSinceMs();
    const silentSinceMs = owedMs === undefined ? Number.POSITIVE_INFINITY : Math.max(this.#heardMs, owedMs);
    const dueMs = Math.min(silentSinceMs + ASK_MS, this.#heardMs + this.#events.quietMs());
    if (nowMs < dueMs) return dueMs;
    const asked = { atMs: nowMs, quietMs: nowMs - this.#heardMs, silentSinceMs: Math.min(nowMs, silentSinceMs) };
    this.#asked = asked;
    this.#events.ping();
    return this.#awaited(nowMs, asked) ?? nowMs;
  }

  #suspect(): void {
    if (this.#suspected) return;
    this.#suspected = true;
    this.#events.suspect();
  }
}
