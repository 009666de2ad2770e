// What a peer's screens show of each unit, by what it was last sent: tells which update is news, and which is the most. Kept for
// thin lines only.
import { metresBetween } from '../lib/geo.ts';
import type { CotEvent, Envelope, Track, TrackOf } from './message.ts';

/** Units remembered; of those forgotten the next update is news. */
const MAX_UNITS = 4096;
/** Less than this is no news. TAK's screens leave a unit where it last was: so far is it from where they show it. */
const NEWS_METRES = 10;
const NEWS_HEIGHT_METRES = 50;
/** Nor is a turn by less. Where bytes cost money no turn is: who moves is told of again after 10 m, which is 7 s. */
const NEWS_DEGREES = 10;
/** Metres per second (3 mph). Above this ATAK draws an arrow where a unit is headed; the course of one that is slower is noise. */
const ARROW_SPEED = 1.341;
/** Shown anew after this part of its life, so that it never turns grey. */
const REFRESH_AFTER = 0.7;
/** Where bytes cost only time, a unit that has not moved is told of again so often: that it is still there is worth something. */
const REFRESH_EVERY_MS = 30_000;
/** So far off, an update counts by a quarter more; further off, no more: or the slow would never have their turn. */
const FAR_METRES = 200;
const FAR_EXTRA = 0.25;
/** Of how old a word is itself, so much is taken off its worth: a fresh one tells more, and an old one is soon replaced by a fresh one. */
const STALENESS = 0.5;
/** How old what is shown of a unit counts that is not shown at all, beyond the age of its first word. */
const NEWCOMER_MS = 30_000;

interface ShownUnit {
  readonly event: CotEvent;
  readonly track: Track | undefined;
  readonly receivedMs: number;
  readonly refreshMs: number;
}

export class Shown {
  /** By conflation key, the one sent last at the end. */
  readonly #units = new Map<string, ShownUnit>();
  readonly #trackOf: TrackOf;

  constructor(trackOf: TrackOf = () => undefined) {
    this.#trackOf = trackOf;
  }

  /** It was sent. */
  note(envelope: Envelope): void {
    const { message, conflate, receivedMs, expiresMs } = envelope;
    if (message.kind !== 'event' || conflate === '') return;
    const refreshMs = receivedMs + REFRESH_AFTER * (expiresMs - receivedMs);
    this.#units.delete(conflate);
    this.#units.set(conflate, { event: message.event, track: this.#trackOf(envelope), receivedMs, refreshMs });
    if (this.#units.size > MAX_UNITS) this.#units.delete(this.#units.keys().next().value!);
  }

  /** Monotonic time from which a position is worth sending; 0: at once. `metered`: not before its unit would turn grey. */
  dueMs(envelope: Envelope, metered: boolean): number {
    const { message, conflate } = envelope;
    const shown = this.#units.get(conflate);
    if (!shown || message.kind !== 'event' || isNews(message.event, shown.event)) return 0;
    if (!metered && shown.track && hasTurned(this.#trackOf(envelope), shown.track)) return 0;
    return metered ? shown.refreshMs : Math.min(shown.refreshMs, shown.receivedMs + REFRESH_EVERY_MS);
  }

  /** How much the peer would gain by it: how old what it shows is, and how fresh this, the more the further off the icon is. */
  worth({ message, conflate, receivedMs }: Envelope, sinceMs: number, nowMs: number): number {
    const shown = this.#units.get(conflate);
    if (!shown || message.kind !== 'event') return 2 * (nowMs - sinceMs + NEWCOMER_MS);
    const metres = metresBetween(shown.event, message.event);
    const gainedMs = nowMs - shown.receivedMs - STALENESS * (nowMs - receivedMs);
    return gainedMs * (1 + FAR_EXTRA * Math.min(1, metres / FAR_METRES));
  }
}

function isNews(now: CotEvent, shown: CotEvent): boolean {
  return (
    metresBetween(now, shown) >= NEWS_METRES ||
    Math.abs(now.hae - shown.hae) >= NEWS_HEIGHT_METRES ||
    now.type !== shown.type ||
    now.callsign !== shown.callsign ||
    now.team !== shown.team ||
    now.role !== shown.role
  );
}

/** Its arrow points elsewhere. Who stands has none. */
function hasTurned(now: Track | undefined, shown: Track): boolean {
  if (!now || now.speed <= ARROW_SPEED || shown.speed <= ARROW_SPEED) return false;
  const turn = Math.abs(now.course - shown.course) % 360;
  return Math.min(turn, 360 - turn) >= NEWS_DEGREES;
}
