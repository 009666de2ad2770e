// Behind which peer people were last reached, after they are no longer announced: a line may be cut for hours, and a relay
// restarted, and chat to them is then kept for that peer (outbox.ts) rather than refused.
import type { Clock } from '../lib/clock.ts';

/** People remembered; beyond it the one met longest ago is forgotten. */
const MAX_PEOPLE = 2_000;
/** As long as a message may wait for a peer. */
const KEPT_MS = 24 * 3_600_000;
/** Longer keys and names are not remembered. */
const MAX_TEXT = 256;

interface LastWay {
  readonly callsign: string;
  readonly peer: string;
  /** Wall clock, milliseconds, when that was first so. */
  readonly sinceMs: number;
}

export class LastWays {
  readonly #clock: Pick<Clock, 'wallMs'>;
  /** By uid, the one met longest ago first. */
  readonly #ways = new Map<string, LastWay>();
  #changed = false;

  /** `saved`: what save() gave before a restart; what cannot be read is nothing. */
  constructor(clock: Pick<Clock, 'wallMs'>, saved?: string) {
    this.#clock = clock;
    for (const row of rowsOf(saved)) this.#ways.set(row[0], { callsign: row[1], peer: row[2], sinceMs: row[3] });
  }

  /** What to save; undefined: nothing changed since. */
  save(): string | undefined {
    if (!this.#changed) return undefined;
    this.#changed = false;
    return JSON.stringify([...this.#ways].map(([uid, { callsign, peer, sinceMs }]) => [uid, callsign, peer, sinceMs]));
  }

  met(uid: string, callsign: string, peer: string): void {
    if (Math.max(uid.length, callsign.length, peer.length) > MAX_TEXT) return;
    const known = this.#ways.get(uid);
    const same = known?.peer === peer && known.callsign === callsign;
    // Written again twice a day, not with every word.
    if (same && this.#clock.wallMs() - known.sinceMs < KEPT_MS / 2) return;
    this.#ways.delete(uid); // to the end of the order
    this.#ways.set(uid, { callsign, peer, sinceMs: this.#clock.wallMs() });
    if (this.#ways.size > MAX_PEOPLE) this.#ways.delete(this.#ways.keys().next().value!);
    this.#changed = true;
  }

  /** Left of their own accord: nothing is kept for them. */
  left(uid: string): void {
    this.#changed = this.#ways.delete(uid) || this.#changed;
  }

  /** Key of the peer; undefined: not known, or too long ago. */
  to(uid: string): string | undefined {
    const way = this.#ways.get(uid);
    return way && this.#isGood(way) ? way.peer : undefined;
  }

  withCallsign(callsign: string): readonly string[] {
    return [...this.#ways].flatMap(([uid, way]) => (way.callsign === callsign && this.#isGood(way) ? [uid] : []));
  }

  #isGood({ sinceMs }: LastWay): boolean {
    return Math.abs(this.#clock.wallMs() - sinceMs) < KEPT_MS;
  }
}

type Row = readonly [uid: string, callsign: string, peer: string, sinceMs: number];

function rowsOf(text: string | undefined): readonly Row[] {
  if (text === undefined) return [];
  try {
    const rows: unknown = JSON.parse(text);
    return Array.isArray(rows) ? rows.filter(isRow).slice(-MAX_PEOPLE) : [];
  } catch {
    return []; // saved by another hand: nobody is remembered
  }
}

function isRow(row: unknown): row is Row {
  return (
    Array.isArray(row) &&
    row.length === 4 &&
    row.slice(0, 3).every((text) => typeof text === 'string') &&
    typeof row[3] === 'number'
  );
}
