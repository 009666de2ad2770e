// One peer's bounded queue: alerts first, the other lanes by their share of the line, the newest word of each thing in the
// place of the one it replaces, and when full the oldest of the least urgent lane goes. Every message that does not come out
// again is named.

import { Backlog, PLACE_BYTES } from './backlog.ts';
import {
  ALERT,
  CHAT,
  type Envelope,
  isPositionLane,
  LANES,
  type Lane,
  MARKER,
  MOVING,
  STILL,
  sizeOf,
} from './message.ts';
import { isUnit } from './policy.ts';
import { dispose, QueueLane, type Slot } from './queue-lane.ts';
import type { DropReason } from './reason.ts';

export interface QueueLimits {
  readonly events: number;
  readonly bytes: number;
}

export const QUEUE_LIMITS: QueueLimits = { events: 4096, bytes: 4 * 1024 * 1024 };

/** Of the bytes of a line that is full, in percent; what a lane does not need the others have. Alerts do not share: they go first. */
export const SHARES: readonly number[] = [0, 30, 20, 40, 8, 2];

/** By what the next message is chosen. */
export interface Terms {
  /** Milliseconds from here to the peer. */
  readonly transitMs?: number | undefined;
  /** How many lanes may send, the most urgent first. */
  readonly lanes?: number | undefined;
  /** Not what waits for its time, even where the line is idle. */
  readonly frugal?: boolean | undefined;
  /** How much a position is worth that waits since then: the one worth most goes first, not the one that waits longest. For thin lines: it is asked of all that wait. */
  worth?(envelope: Envelope, sinceMs: number): number;
}

const PLAIN: Terms = {};

/** Told of every message that leaves the queue without being taken. */
export type OnDrop = (envelope: Envelope, reason: DropReason) => void;

export class PeerQueue {
  #limits: QueueLimits;
  readonly #onDrop: OnDrop;
  readonly #lanes = LANES.map(() => new QueueLane());
  /** Conflation key to what waits under it, in whatever lane. */
  readonly #slots = new Map<string, Slot>();
  /** Bytes that each lane has had, per percent of its share; of the lanes in which something waits the least served is next. */
  readonly #served = LANES.map(() => 0);
  /** What the lane served last had before: a lane that was empty begins here, with no claim to what it did not need. */
  #level = 0;
  /** Positions that tell nothing new: each waits for its time, or for a line that is idle. */
  readonly #held = new QueueLane();
  readonly #heldOf = LANES.map(() => 0);
  /** When the first of them is due, or earlier. */
  #nextDueMs = Number.POSITIVE_INFINITY;
  /** Taken last: it may come back at once, as the wire was full. */
  #taken: Slot | undefined;
  /** By the turn of which lane; undefined: it had waited for its time. */
  #turn: Lane | undefined;
  /** Lanes up to this one go out however stale they are. */
  readonly #lastPatient: Lane;
  #length = 0;
  #bytes = 0;
  /** Of it, with what places cost, in lanes that can be done without. */
  #spareBytes = 0;
  readonly #backlog: Backlog;

  /** @param patient what must not be lost waits past its stale time: for how long is for the outbox to say; `backlog`: of all queues together */
  constructor(limits: QueueLimits, onDrop: OnDrop, patient = false, backlog = new Backlog()) {
    this.#limits = limits;
    this.#backlog = backlog;
    backlog.join(this);
    this.#lastPatient = patient ? MARKER : ALERT;
    this.#onDrop = onDrop;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get spareBytes(): number {
    return this.#spareBytes;
  }

  lengthOf(lane: number): number {
    return this.#lanes[lane]!.length + this.#heldOf[lane]!;
  }

  /** Monotonic time at which something that waits for its time will be due; Infinity: nothing does. */
  get nextDueMs(): number {
    return this.#nextDueMs;
  }

  /** Monotonic time at which the oldest waiting message of a lane was received; undefined when it is empty. */
  oldestMs(lane: number): number | undefined {
    const { first } = this.#lanes[lane]!;
    if (first || this.#heldOf[lane] === 0) return first?.envelope.receivedMs;
    for (const { lane: held, receivedMs } of this.#held.envelopes()) if (held === lane) return receivedMs;
    return undefined;
  }

  /** Whether an older or newer word of the same thing waits. */
  holds({ conflate }: Envelope): boolean {
    return this.#slots.has(conflate);
  }

  /** What waits, in no particular order. */
  waiting(): Set<Envelope> {
    return new Set([...this.#lanes, this.#held].flatMap((lane) => [...lane.envelopes()]));
  }

  /** What waits in a lane, in the order it came; then what waits there for its time. */
  *listing(lane: Lane): Generator<{ readonly envelope: Envelope; readonly dueMs: number }, undefined> {
    for (const envelope of this.#lanes[lane]!.envelopes()) yield { envelope, dueMs: 0 };
    for (let slot = this.#held.first; slot; slot = slot.next) {
      if (slot.envelope.lane === lane) yield { envelope: slot.envelope, dueMs: slot.dueMs };
    }
    return undefined;
  }

  setLimits(limits: QueueLimits): void {
    this.#limits = limits;
    this.#shrink();
  }

  /** @param dueMs monotonic time before which it is sent only if nothing else waits */
  offer(envelope: Envelope, dueMs = 0): void {
    this.#add(envelope, 'last', dueMs);
    this.#shrink();
  }

  /** Takes back, before everything else of its lane, what was taken before and did not get through; in the order it was taken. */
  putBack(envelopes: readonly Envelope[]): void {
    for (const envelope of envelopes.toReversed()) {
      const isTaken = this.#taken?.envelope === envelope;
      this.#charge(envelope, -1, isTaken ? this.#turn : envelope.lane);
      this.#add(envelope, 'first', 0, isTaken ? this.#taken!.sinceMs : undefined);
    }
    this.#shrink();
  }

  /** A connection begins: nothing is known to be old news; the chat that waits goes before the other lanes have their share. */
  resume(): void {
    this.#release(Number.POSITIVE_INFINITY);
    const waiting = [...this.#lanes[CHAT]!.envelopes()].reduce((sum, envelope) => sum + sizeOf(envelope), 0);
    for (const [lane] of this.#served.entries()) {
      this.#served[lane] = this.#level + (lane === CHAT ? 0 : waiting / SHARES[CHAT]!);
    }
  }

  /**
   * The next message to send; those that went stale while waiting are dropped on the way, and positions that would be when they
   * arrive `transitMs` later. Alerts never are, nor anything else that an outbox keeps.
   */
  take(nowMs: number, terms = PLAIN): Envelope | undefined {
    if (nowMs >= this.#nextDueMs) this.#release(nowMs);
    for (;;) {
      const slot = this.#next(terms);
      if (slot === undefined) return undefined;
      // A dead table of #slots would keep it, and its message, from young collections (lib/chain.ts).
      if (this.#taken) dispose(this.#taken);
      this.#taken = slot;
      const envelope = this.#remove(slot);
      const { lane } = envelope;
      const arrivesMs = isPositionLane(lane) ? nowMs + (terms.transitMs ?? 0) : nowMs;
      if (lane <= this.#lastPatient || arrivesMs < envelope.expiresMs) {
        this.#charge(envelope, 1, this.#turn);
        return envelope;
      }
      this.#onDrop(envelope, 'expired');
    }
  }

  /** The peer is gone: empties the queue, naming the reason for each message. */
  clear(reason: DropReason): void {
    this.#backlog.leave(this);
    for (const lane of [...this.#lanes, this.#held]) while (lane.first) this.#onDrop(this.#remove(lane.first), reason);
  }

  /** Ends the wait of one message, if it waits. */
  discard(envelope: Envelope, reason: DropReason): void {
    for (let slot = this.#lanes[envelope.lane]!.first; slot; slot = slot.next) {
      if (slot.envelope === envelope) return this.#onDrop(this.#remove(slot), reason);
    }
  }

  #next(terms: Terms): Slot | undefined {
    const { lanes = LANES.length, frugal, worth } = terms;
    const lane = this.#nextLane(lanes);
    this.#turn = lane;
    if (lane === undefined) return frugal || lanes <= STILL ? undefined : this.#held.first;
    if (!worth || !isPositionLane(lane)) return this.#lanes[lane]!.first;
    const best = this.#lanes[lane]!.best(worth);
    return lane === MOVING && lanes > STILL ? this.#orOneThatStands(best!, worth) : best;
  }

  /** Units that stand have a part in the turns of those that move, or they would turn grey. (Sensors have their own share alone.) */
  #orOneThatStands(moving: Slot, worth: NonNullable<Terms['worth']>): Slot {
    const still = this.#lanes[STILL]!.best((envelope, sinceMs) => (isOfUnit(envelope) ? worth(envelope, sinceMs) : 0));
    if (!still || !isOfUnit(still.envelope)) return moving;
    return worth(still.envelope, still.sinceMs) > worth(moving.envelope, moving.sinceMs) ? still : moving;
  }

  #nextLane(lanes: number): Lane | undefined {
    if (this.#lanes[ALERT]!.length > 0) return ALERT;
    let next: Lane | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (let lane = 1; lane < lanes; lane++) {
      const served = Math.max(this.#served[lane]!, this.#level);
      if (this.#lanes[lane]!.length === 0 || served >= least) continue;
      least = served;
      next = lane as Lane;
    }
    if (next !== undefined) this.#level = this.#served[next] = least;
    return next;
  }

  #charge(envelope: Envelope, sign: 1 | -1, lane: Lane = envelope.lane): void {
    if (lane !== ALERT) this.#served[lane] = this.#served[lane]! + (sign * sizeOf(envelope)) / SHARES[lane]!;
  }

  #add(envelope: Envelope, end: 'first' | 'last', dueMs = 0, sinceMs?: number): void {
    const { conflate } = envelope;
    const slot = conflate === '' ? undefined : this.#slots.get(conflate);
    if (slot) return this.#conflate(slot, envelope, dueMs);
    const lane = dueMs > 0 ? this.#held : this.#lanes[envelope.lane]!;
    const added = end === 'last' ? lane.push(envelope, dueMs, sinceMs) : lane.unshift(envelope, sinceMs);
    if (dueMs > 0) {
      this.#heldOf[envelope.lane]!++;
      this.#nextDueMs = Math.min(this.#nextDueMs, dueMs);
    }
    if (conflate !== '') this.#slots.set(conflate, added);
    this.#length++;
    this.#count(envelope, 1);
    this.#backlog.added(envelope);
  }

  #count(envelope: Envelope, sign: 1 | -1): void {
    const bytes = sizeOf(envelope);
    this.#bytes += sign * bytes;
    if (envelope.lane > MARKER) this.#spareBytes += sign * (bytes + PLACE_BYTES);
  }

  /** One word of a thing waits, in the place of the one that waited unless it is of another lane. */
  #conflate(slot: Slot, envelope: Envelope, dueMs: number): void {
    const waiting = slot.envelope;
    const [older, newer] = envelope.seq < waiting.seq ? [envelope, waiting] : [waiting, envelope];
    const stays = saysLess(newer, older) ? older : newer;
    if (stays !== waiting && stays.lane === waiting.lane && dueMs > 0 === slot.dueMs > 0) {
      slot.envelope = stays;
      this.#count(waiting, -1);
      this.#count(stays, 1);
      this.#backlog.removed(waiting);
      this.#backlog.added(stays);
    } else if (stays !== waiting) {
      this.#remove(slot);
      this.#add(stays, 'last', dueMs, slot.sinceMs);
    }
    this.#onDrop(stays === newer ? older : newer, 'superseded');
  }

  /** What is due by then waits no longer for its time, but for its turn. */
  #release(nowMs: number): void {
    this.#nextDueMs = Number.POSITIVE_INFINITY;
    for (let slot = this.#held.first; slot; ) {
      const { next, envelope, dueMs, sinceMs } = slot;
      if (dueMs <= nowMs) {
        this.#remove(slot);
        this.#add(envelope, 'last', 0, sinceMs);
      } else this.#nextDueMs = Math.min(this.#nextDueMs, dueMs);
      slot = next;
    }
  }

  #shrink(): void {
    while (this.#length > this.#limits.events || (this.#bytes > this.#limits.bytes && this.#length > 1)) {
      this.giveOne();
    }
    if (this.#backlog.isOver) this.#backlog.relieve();
  }

  /** Drops the oldest of the least urgent lane; never called when nothing waits. */
  giveOne(): void {
    const least = this.#held.first ? this.#held : this.#lanes.findLast((lane) => lane.length > 0)!;
    const slot = least.first!;
    this.#onDrop(this.#remove(slot), 'queue_full');
    dispose(slot);
  }

  #remove(slot: Slot): Envelope {
    const { envelope } = slot;
    if (slot.dueMs > 0) {
      this.#held.remove(slot);
      this.#heldOf[envelope.lane]!--;
    } else this.#lanes[envelope.lane]!.remove(slot);
    if (envelope.conflate !== '') this.#slots.delete(envelope.conflate);
    this.#length--;
    this.#count(envelope, -1);
    this.#backlog.removed(envelope);
    return envelope;
  }
}

function isOfUnit({ message }: Envelope): boolean {
  return message.kind === 'event' && isUnit(message.event);
}

/** A position tells that the unit is there, and whoever keeps contacts is told its name on the way (peer.ts): an announcement adds nothing. */
function saysLess({ message }: Envelope, than: Envelope): boolean {
  return (
    message.kind === 'contact' && message.op !== 'delete' && than.message.kind === 'event' && isPositionLane(than.lane)
  );
}
