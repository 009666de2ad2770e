// The current picture: the last known position of every unit, the alerts still standing, and who can be reached through
// which peer. Late joiners are given it.
import { Claims } from './claims.ts';
import { type Envelope, sizeOf } from './message.ts';
import { Roster, type RosterLimits } from './roster.ts';
import { Shares } from './shares.ts';

export interface PictureLimits {
  readonly units: number;
  readonly alerts: number;
  /** Bytes of the positions kept; of the alerts, as many. */
  readonly bytes: number;
  readonly roster: RosterLimits;
}

export const PICTURE_LIMITS: PictureLimits = {
  units: 10_000,
  alerts: 1_000,
  bytes: 16 * 1024 * 1024,
  roster: { contacts: 20_000, bytes: 16 * 1024 * 1024, ways: 8, namesakes: 16 },
};

export class Picture {
  readonly roster: Roster;
  /** Uids that two say are theirs. */
  readonly claims = new Claims();
  readonly #units: Shares<Envelope>;
  readonly #alerts: Shares<Envelope>;

  constructor({ units, alerts, bytes, roster }: PictureLimits = PICTURE_LIMITS) {
    this.#units = shared(units, bytes);
    this.#alerts = shared(alerts, bytes);
    this.roster = new Roster(roster);
  }

  get units(): number {
    return this.#units.size;
  }

  get contacts(): number {
    return this.roster.size;
  }

  /** The last position of a unit. */
  latest(uid: string): Envelope | undefined {
    return this.#units.get(uid);
  }

  /** Keeps the envelope as the last position of a unit. */
  keep(uid: string, envelope: Envelope): void {
    this.#units.set(uid, envelope);
  }

  /** The unit is no longer there. */
  forget(uid: string): void {
    this.#units.delete(uid);
  }

  raise(uid: string, alert: Envelope): void {
    this.#alerts.set(uid, alert);
  }

  cancel(uid: string): void {
    this.#alerts.delete(uid);
  }

  /** Forgets what has gone stale. */
  sweep(nowMs: number): void {
    for (const kept of [this.#units, this.#alerts]) {
      for (const [uid, { expiresMs }] of kept.entries()) if (nowMs >= expiresMs) kept.delete(uid);
    }
  }

  /** The last position of every unit, the one not renewed for longest first. */
  positions(): IterableIterator<Envelope> {
    return this.#units.values();
  }

  /** Uids of the units that have a position, the one not renewed for longest first. */
  unitUids(): string[] {
    return this.#units.keys();
  }

  alert(uid: string): Envelope | undefined {
    return this.#alerts.get(uid);
  }

  /** Uids of the alerts that stand, the oldest first. */
  alertUids(): string[] {
    return this.#alerts.keys();
  }
}

/** Each peer has a part of it: one that makes up units costs those of others nothing. */
function shared(entries: number, bytes: number): Shares<Envelope> {
  return new Shares({ entries, bytes, sizeOf, ownerOf: ({ from }) => from });
}
