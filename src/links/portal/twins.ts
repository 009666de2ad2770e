// Two boxes with one identity: somebody copied an SD card. Each connects, takes the place of the other, and is replaced in
// turn. A box that restarts is new every time; only two that live come back after one another.
import { TWIN_FLIPS, TWINS_MS } from './limits.ts';

/** A running relay as its Hello shows it. */
export interface Box {
  readonly nodeId: string;
  readonly epoch: number;
  readonly address: string;
}

/** Boxes of one identity remembered: more than two is two pairs of twins. */
const MAX_BOXES = 4;

export class Twins {
  /** The last seen last. */
  #boxes: Box[] = [];
  /** Monotonic times when a box came back after another. */
  #flips: number[] = [];
  /** Who may stay, and until when the others may not come. */
  #held: Box | undefined;
  #heldUntilMs = 0;

  /** A box wants to take the place of the one that is there. Returns the one it must leave it to; undefined: it may. */
  rival(box: Box, present: boolean, nowMs: number): Box | undefined {
    const rival = this.#judge(box, present, nowMs);
    if (!rival) this.#note(box);
    return rival;
  }

  #judge(box: Box, present: boolean, nowMs: number): Box | undefined {
    if (this.#held && nowMs >= this.#heldUntilMs) this.#held = undefined;
    const last = this.#boxes.at(-1);
    if (!present || !last || last.epoch === box.epoch) return undefined;
    if (!this.#held && this.#isFlip(box, nowMs)) this.#held = last;
    if (!this.#held || this.#held.epoch === box.epoch) return undefined;
    // The other one keeps trying: as long as it does, nothing has been put right.
    this.#heldUntilMs = nowMs + 2 * TWINS_MS;
    return this.#held;
  }

  /** Counts it; true when there were too many. */
  #isFlip(box: Box, nowMs: number): boolean {
    if (!this.#boxes.some(({ epoch }) => epoch === box.epoch)) return false;
    this.#flips = [...this.#flips.filter((atMs) => nowMs - atMs < TWINS_MS), nowMs];
    return this.#flips.length >= TWIN_FLIPS;
  }

  #note(box: Box): void {
    const others = this.#boxes.filter(({ epoch }) => epoch !== box.epoch);
    this.#boxes = [...others.slice(1 - MAX_BOXES), box];
  }
}
