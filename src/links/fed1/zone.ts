// The time zone of a peer that writes local time as UTC (FreeTAKServer does, both ways): found out from the age that positions
// seem to have when they arrive. Each unit has one say, its last; the zone that most units tell is believed.
import { MAX_VOTERS, VOTE_LIFE_MS, ZONE_LIMIT_MS, ZONE_STEP_MS, ZONE_TOLERANCE_MS } from './limits.ts';

interface Vote {
  readonly offsetMs: number;
  readonly atMs: number;
}

export class Zone {
  #offsetMs: number;
  readonly #votes = new Map<string, Vote>();

  /** @param offsetMs what an earlier connection found; 0 when nothing is known */
  constructor(offsetMs: number) {
    this.#offsetMs = isOffset(offsetMs) ? offsetMs : 0;
  }

  /** True time less the peer's: to be added to what it says, taken off what it is told. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  /** A position of this unit, just arrived, that claims to be `ageMs` old. True: another zone is believed from now on. */
  vote(uid: string, ageMs: number, nowMs: number): boolean {
    const offsetMs = Math.round(ageMs / ZONE_STEP_MS) * ZONE_STEP_MS + 0;
    if (!isOffset(offsetMs) || Math.abs(ageMs - offsetMs) > ZONE_TOLERANCE_MS) return false;
    this.#votes.delete(uid);
    this.#votes.set(uid, { offsetMs, atMs: nowMs });
    this.#forget(nowMs);
    if (this.#count(offsetMs) <= this.#count(this.#offsetMs)) return false;
    this.#offsetMs = offsetMs;
    return true;
  }

  /** The oldest votes stand first. */
  #forget(nowMs: number): void {
    for (const [uid, { atMs }] of this.#votes) {
      if (this.#votes.size <= MAX_VOTERS && nowMs - atMs <= VOTE_LIFE_MS) return;
      this.#votes.delete(uid);
    }
  }

  #count(offsetMs: number): number {
    let count = 0;
    for (const vote of this.#votes.values()) if (vote.offsetMs === offsetMs) count++;
    return count;
  }
}

function isOffset(ms: number): boolean {
  return ms % ZONE_STEP_MS === 0 && Math.abs(ms) <= ZONE_LIMIT_MS;
}

/** As the world writes it. A peer whose events seem two hours old is two hours east: `UTC+02:00`. */
export function zoneName(offsetMs: number): string {
  const minutes = Math.abs(offsetMs) / 60_000;
  const two = (n: number) => String(n).padStart(2, '0');
  return `UTC${offsetMs < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
