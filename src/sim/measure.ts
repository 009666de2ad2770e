// What arrived, as a person at the far end sees it: how old the newest fix of each unit is, second by second, and how long
// alerts and chat took.
import type { CotEvent } from '../core/message.ts';
import { isAlert, isUnit } from '../core/policy.ts';
import { metresBetween } from '../lib/geo.ts';
import { type Offered, WALL_START_MS } from './load.ts';

const SAMPLE_MS = 1_000;
/** One point of a curve stands for so long. */
const CURVE_MS = 10_000;

/** Milliseconds, or metres. */
export interface Spread {
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

export interface Delays extends Spread {
  readonly offered: number;
  readonly delivered: number;
}

export interface Point {
  readonly atMs: number;
  readonly valueMs: number;
}

export interface Result {
  readonly rule: string;
  readonly delivered: number;
  readonly offered: number;
  /** Age of the newest delivered fix, of all units at all seconds. */
  readonly age: Spread;
  /** How far units are from where they are shown, metres; of those shown at all. */
  readonly off: Spread;
  readonly alerts: Delays;
  readonly chat: Delays;
  /** 95 of 100 units are known better than this, over time. */
  readonly ageCurve: readonly Point[];
  /** When each alert was raised, and how long it took. */
  readonly alertPoints: readonly Point[];
  /** Where the rule tells: what became of the rest. */
  readonly books: Readonly<Record<string, number>>;
}

interface Kind {
  offered: number;
  readonly points: Point[];
}

export class Measure {
  /** Time of the newest fix that arrived; before one has, of the first that was offered. */
  readonly #newest = new Map<string, number>();
  readonly #alerts: Kind = { offered: 0, points: [] };
  readonly #chat: Kind = { offered: 0, points: [] };
  readonly #ages: number[] = [];
  /** The newest position of each unit, there and here. */
  readonly #true = new Map<string, CotEvent>();
  readonly #shown = new Map<string, CotEvent>();
  readonly #offs: number[] = [];
  readonly #curve: Point[] = [];
  #nextSampleMs = 0;
  #offered = 0;
  #delivered = 0;

  /** Brings the sampling up to `nowMs`; before anything of that moment is told. */
  passed(nowMs: number): void {
    for (; this.#nextSampleMs < nowMs; this.#nextSampleMs += SAMPLE_MS) this.#sample(this.#nextSampleMs);
  }

  /** An event was offered to the relay. Those of the last `endMs` need not arrive any more. */
  offered({ atMs, event }: Offered, endMs: number): void {
    this.#offered++;
    if (isUnit(event)) {
      this.#true.set(event.uid, event);
      if (!this.#newest.has(event.uid)) this.#newest.set(event.uid, atMs);
    } else if (atMs < endMs) this.#kindOf(event.type).offered++;
  }

  arrived({ atMs, event }: Offered, nowMs: number, endMs: number): void {
    this.#delivered++;
    const madeMs = event.timeMs - WALL_START_MS;
    if (isUnit(event)) {
      this.#newest.set(event.uid, Math.max(madeMs, this.#newest.get(event.uid) ?? 0));
      this.#shown.set(event.uid, event);
    } else if (atMs < endMs) this.#kindOf(event.type).points.push({ atMs, valueMs: nowMs - atMs });
  }

  result(rule: string, books: Readonly<Record<string, number>>): Result {
    return {
      rule,
      books,
      delivered: this.#delivered,
      offered: this.#offered,
      age: spread(this.#ages),
      off: spread(this.#offs),
      alerts: delays(this.#alerts),
      chat: delays(this.#chat),
      ageCurve: this.#curve,
      alertPoints: this.#alerts.points,
    };
  }

  #kindOf(type: string): Kind {
    return isAlert({ type }) ? this.#alerts : this.#chat;
  }

  #sample(nowMs: number): void {
    const ages = Array.from(this.#newest.values(), (madeMs) => Math.max(0, nowMs - madeMs));
    for (const age of ages) this.#ages.push(age);
    for (const [uid, event] of this.#shown) this.#offs.push(metresBetween(event, this.#true.get(uid)!));
    if (nowMs % CURVE_MS === 0 && ages.length > 0) this.#curve.push({ atMs: nowMs, valueMs: spread(ages).p95 });
  }
}

function delays({ offered, points }: Kind): Delays {
  return { offered, delivered: points.length, ...spread(points.map(({ valueMs }) => valueMs)) };
}

/** NaN when there is nothing. */
export function spread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), max: at(1) };
}
