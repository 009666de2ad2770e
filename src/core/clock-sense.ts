// Notices when this box's clock must be wrong: boards have no battery clock, and a vehicle without a network wakes in the
// past. Then every event would be refused as stale or as dated too far ahead. Units that report themselves live carry a good
// clock (GPS), so when more of them agree with each other than with us, admission follows theirs as well as ours.
import { type CotEvent, isDirected } from './message.ts';
import { isUnit, STALE_GRACE_MS } from './policy.ts';

/** Units listened to at once. */
const MAX_WITNESSES = 64;
/** A unit not heard for so long is no witness any more. ATAK at rest reports every three minutes. */
const WITNESS_MS = 10 * 60_000;
/** Two events of one unit this far apart, and equally far off, come from a running clock, not from a recording of one moment. */
const RUNNING_MS = 1_000;
/** Clocks that differ by less agree. */
const AGREE_MS = STALE_GRACE_MS;

interface Witness {
  /** How much its clock is ahead of ours, milliseconds. */
  skewMs: number;
  readonly firstMs: number;
  lastMs: number;
  running: boolean;
}

export class ClockSense {
  readonly #witnesses = new Map<string, Witness>();
  #offsetMs = 0;

  /** How far those who agree are ahead of our clock, milliseconds; 0: as far as can be told it is right. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  /** Units whose word `offsetMs` is. */
  get witnesses(): number {
    return this.#offsetMs === 0 ? 0 : this.#agreeing(this.#offsetMs);
  }

  /** An event came in. `wallMs` and `nowMs`: our clock, of the day and monotonic. */
  note(event: CotEvent, wallMs: number, nowMs: number): void {
    const skewMs = event.timeMs - wallMs;
    // While nobody contradicts our clock this costs a comparison.
    if (this.#witnesses.size === 0 && Math.abs(skewMs) < AGREE_MS) return;
    if (!isUnit(event) || isDirected(event) || !event.how.startsWith('m-')) return;
    this.#hear(event.uid, skewMs, nowMs);
    this.#conclude(nowMs);
  }

  #hear(uid: string, skewMs: number, nowMs: number): void {
    const known = this.#witnesses.get(uid);
    this.#witnesses.delete(uid); // to the end of the order
    const same = known && Math.abs(known.skewMs - skewMs) < AGREE_MS;
    const firstMs = same ? known.firstMs : nowMs;
    const running = same ? known.running || nowMs - firstMs >= RUNNING_MS : false;
    this.#witnesses.set(uid, { skewMs, firstMs, lastMs: nowMs, running });
    if (this.#witnesses.size > MAX_WITNESSES) this.#witnesses.delete(this.#witnesses.keys().next().value!);
  }

  #conclude(nowMs: number): void {
    for (const [uid, { lastMs }] of this.#witnesses) if (nowMs - lastMs > WITNESS_MS) this.#witnesses.delete(uid);
    const running = [...this.#witnesses.values()].filter((witness) => witness.running);
    const ours = this.#agreeing(0);
    let best = { skewMs: 0, count: ours };
    for (const { skewMs } of running) {
      const count = this.#agreeing(skewMs);
      if (Math.abs(skewMs) >= AGREE_MS && count > best.count) best = { skewMs, count };
    }
    this.#offsetMs = best.skewMs;
    // Nobody contradicts us any more.
    if (ours === this.#witnesses.size) this.#witnesses.clear();
  }

  #agreeing(skewMs: number): number {
    let count = 0;
    for (const witness of this.#witnesses.values()) {
      if (witness.running && Math.abs(witness.skewMs - skewMs) < AGREE_MS) count++;
    }
    return count;
  }
}
