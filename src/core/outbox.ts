// What must not be lost: alerts, chat, tasking, markers and missions that wait for a peer which outlives its connections, or are on
// their way to it, are on disk as well until the peer has them. A little of it waits in memory, in the peer's queue; the rest on
// disk alone (on the shelf), and moves up as the queue empties. So a restart is nothing special: everything begins on the shelf.
//
// Bounded by bytes and age, for each peer: the oldest marker goes first, for a named reason.
import type { Clock } from '../lib/clock.ts';
import { restoredEnvelope } from './envelope.ts';
import { ALERT, CHAT, type Envelope, type Lane, MARKER, type Message, sizeOf, type Wire } from './message.ts';
import type { OutboxDisk, OutboxEntry, OutboxRecord } from './outbox-disk.ts';
import type { DropReason } from './reason.ts';

export interface OutboxLimits {
  /** Of one peer, bytes of messages. */
  readonly bytes: number;
  /** Nothing waits longer, counted from the first relay that received it; and AGE_SLACK_MS. */
  readonly ageMs: number;
}

/** A clock that is set by an hour while the relay is off loses nothing. */
export const AGE_SLACK_MS = 3_600_000;

export const OUTBOX_LIMITS: OutboxLimits = { bytes: 10_000_000, ageMs: 24 * 3_600_000 };

/** What of it waits in memory, for each peer; beyond it on disk alone. */
const MEMORY_MESSAGES = 512;
const MEMORY_BYTES = 256 * 1024;
/** A wall clock that says so much has passed while the relay was off was set meanwhile. */
const LONGEST_OFF_MS = 7 * 24 * 3_600_000;

/** Lanes that are kept, the most urgent first. */
export const KEPT_LANES: readonly Lane[] = [ALERT, CHAT, MARKER];

export function isKept({ lane, wire }: Envelope): boolean {
  return lane <= MARKER && wire !== undefined;
}

/** One message of one peer. */
interface Kept {
  readonly id: number;
  readonly lane: Lane;
  readonly bytes: number;
  /** Monotonic; before this relay began, for what is older than it. */
  readonly receivedMs: number;
  readonly conflate: string;
  /** undefined: on the shelf. */
  readonly envelope: Envelope | undefined;
}

/** What the outbox asks of the relay. */
export interface OutboxHost {
  readonly disk: OutboxDisk;
  readonly limits: OutboxLimits;
  readonly clock: Clock;
  /** What wire bytes say. Throws what they do not. */
  messageOf(wire: Wire): Message;
  /** The next number of an envelope. */
  nextSeq(): number;
}

/** Told of every message that goes without having arrived; `envelope` when it was in memory. */
export type OnEvict = (lane: Lane, reason: DropReason, envelope: Envelope | undefined) => void;

/** All peers' outboxes. */
export class Outboxes {
  readonly #host: OutboxHost;
  #lastId: number;
  /** Of peers that were not heard of since the start. */
  readonly #unclaimed: Map<string, OutboxEntry[]>;

  constructor(host: OutboxHost) {
    this.#host = host;
    const { entries } = host.disk.found;
    this.#unclaimed = Map.groupBy(entries, ({ peer }) => peer);
    this.#lastId = entries.at(-1)?.id ?? 0;
  }

  /** The outbox of a peer that has come to be known; what waited for it before a restart is in it. */
  of(peer: string, onEvict: OnEvict): PeerOutbox {
    const entries = this.#unclaimed.get(peer) ?? [];
    this.#unclaimed.delete(peer);
    return new PeerOutbox({ ...this.#host, peer, onEvict, nextId: () => ++this.#lastId }, entries);
  }

  /** Messages for peers that nobody knows any more. */
  get unclaimed(): number {
    let count = 0;
    for (const entries of this.#unclaimed.values()) count += entries.length;
    return count;
  }

  /** What waits for nobody known goes when its time is up. */
  sweep(): void {
    const { disk, limits, clock } = this.#host;
    for (const [peer, entries] of this.#unclaimed) {
      const stays = entries.filter(
        ({ receivedWallMs }) => ageOf(receivedWallMs, clock.wallMs()) <= limits.ageMs + AGE_SLACK_MS,
      );
      if (stays.length === entries.length) continue;
      for (const entry of entries) if (!stays.includes(entry)) disk.remove(entry.id);
      if (stays.length > 0) this.#unclaimed.set(peer, stays);
      else this.#unclaimed.delete(peer);
    }
  }
}

interface PeerHost extends OutboxHost {
  readonly peer: string;
  readonly onEvict: OnEvict;
  nextId(): number;
}

/** Oldest first, by id. */
type Row = Map<number, Kept>;

export class PeerOutbox {
  /** Messages that waited when the relay started. */
  readonly restored: number;
  readonly #host: PeerHost;
  /** In the peer's queue, or on the way. */
  readonly #memory: readonly Row[] = KEPT_LANES.map(() => new Map());
  readonly #shelf: readonly Row[] = KEPT_LANES.map(() => new Map());
  readonly #byEnvelope = new Map<Envelope, Kept>();
  /** What is on the shelf, by conflation key: one word of each thing. */
  readonly #shelved = new Map<string, Kept>();
  #bytes = 0;
  #memoryBytes = 0;

  constructor(host: PeerHost, entries: readonly OutboxEntry[]) {
    this.#host = host;
    this.restored = entries.length;
    const [nowMs, wallMs] = [host.clock.nowMs(), host.clock.wallMs()];
    for (const { id, lane, bytes, conflate, receivedWallMs } of entries) {
      const receivedMs = nowMs - ageOf(receivedWallMs, wallMs);
      this.#shelve({ id, lane, bytes, conflate, receivedMs, envelope: undefined });
    }
  }

  /** Messages kept: those that wait, and those on their way. */
  get count(): number {
    return this.#byEnvelope.size + this.shelved;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Messages that wait on disk alone. */
  get shelved(): number {
    return this.#shelf.reduce((sum, row) => sum + row.size, 0);
  }

  get shelvedBytes(): number {
    return this.#bytes - this.#memoryBytes;
  }

  shelvedIn(lane: Lane): number {
    return this.#shelf[lane]?.size ?? 0;
  }

  /** Monotonic time at which the oldest message kept was received. */
  oldestMs(): number | undefined {
    const oldest = KEPT_LANES.flatMap((lane) => this.#oldest(lane)?.receivedMs ?? []);
    return oldest.length > 0 ? Math.min(...oldest) : undefined;
  }

  oldestShelvedMs(lane: Lane): number | undefined {
    const [first] = this.#shelf[lane]?.values() ?? [];
    return first?.receivedMs;
  }

  /**
   * Keeps a message. True: it belongs in the queue, too; false: it waits on the shelf. `inQueue`: it must be in the queue, whatever
   * waits there already.
   */
  keep(envelope: Envelope, inQueue: boolean): boolean {
    if (this.#byEnvelope.has(envelope)) return true;
    this.#supersede(envelope.conflate);
    const { lane, receivedMs, conflate } = envelope;
    const bytes = sizeOf(envelope);
    const isInMemory = inQueue || this.#hasRoom(lane, bytes);
    const kept: Kept = {
      ...{ id: this.#host.nextId(), lane, bytes, receivedMs, conflate },
      envelope: isInMemory ? envelope : undefined,
    };
    if (isInMemory) this.#hold(kept, envelope);
    else this.#shelve(kept);
    this.#host.disk.put(kept.id, recordOf(envelope, this.#host.peer));
    return isInMemory;
  }

  /** It arrived, or was dropped by name: no longer kept. */
  settle(envelope: Envelope): void {
    const kept = this.#byEnvelope.get(envelope);
    if (kept) this.#forget(kept);
  }

  /** Takes the oldest of a lane off the shelf, when there is room for it in memory. */
  unshelve(lane: Lane): Envelope | undefined {
    const row = this.#shelf[lane]!;
    for (const kept of row.values()) {
      if (!this.#roomFor(kept.bytes)) return undefined;
      const envelope = this.#read(kept);
      if (!envelope) {
        this.#evict(kept, 'damaged');
        continue;
      }
      this.#unshelve(kept);
      this.#hold({ ...kept, envelope }, envelope);
      return envelope;
    }
    return undefined;
  }

  /** Ends what is too much or too old. */
  trim(): void {
    const { limits, clock } = this.#host;
    while (this.#bytes > limits.bytes) {
      const lane = KEPT_LANES.findLast((lane) => this.#oldest(lane) !== undefined)!;
      this.#evict(this.#oldest(lane)!, 'outbox_full');
    }
    const bornMs = clock.nowMs() - limits.ageMs - AGE_SLACK_MS;
    for (const lane of KEPT_LANES) {
      for (let kept = this.#oldest(lane); kept && kept.receivedMs < bornMs; kept = this.#oldest(lane)) {
        this.#evict(kept, 'too_old');
      }
    }
  }

  /** The peer is no longer known. */
  clear(reason: DropReason): void {
    for (const rows of [this.#memory, this.#shelf]) {
      for (const row of rows) for (const kept of [...row.values()]) this.#evict(kept, reason);
    }
  }

  #oldest(lane: Lane): Kept | undefined {
    const [first] = this.#memory[lane]!.values();
    const [next] = this.#shelf[lane]!.values();
    return first && next ? (first.receivedMs <= next.receivedMs ? first : next) : (first ?? next);
  }

  #hasRoom(lane: Lane, bytes: number): boolean {
    // What cannot be written is better off in the queue.
    if (!this.#host.disk.writable) return true;
    return this.#shelf[lane]!.size === 0 && this.#roomFor(bytes);
  }

  #roomFor(bytes: number): boolean {
    const messages = this.#byEnvelope.size;
    return messages === 0 || (messages < MEMORY_MESSAGES && this.#memoryBytes + bytes <= MEMORY_BYTES);
  }

  #read(kept: Kept): Envelope | undefined {
    const { disk, clock, nextSeq, messageOf } = this.#host;
    const record = disk.fetch(kept.id);
    if (!record) return undefined;
    try {
      const message = messageOf(record.wire);
      return restoredEnvelope(record, message, { seq: nextSeq(), receivedMs: kept.receivedMs, clock });
    } catch {
      return undefined; // counted by the caller
    }
  }

  /** A newer word of what is on the shelf. */
  #supersede(conflate: string): void {
    const older = conflate === '' ? undefined : this.#shelved.get(conflate);
    if (older) this.#evict(older, 'superseded');
  }

  /** The one who is told settles what is in memory, after he has found it in the queue. */
  #evict(kept: Kept, reason: DropReason): void {
    this.#forget(kept);
    this.#host.onEvict(kept.lane, reason, kept.envelope);
  }

  #forget(kept: Kept): void {
    const { id, lane, bytes, envelope } = kept;
    if (!envelope) this.#unshelve(kept);
    else if (this.#byEnvelope.delete(envelope)) {
      this.#memory[lane]!.delete(id);
      this.#memoryBytes -= bytes;
      this.#bytes -= bytes;
    }
    this.#host.disk.remove(id);
  }

  #hold(kept: Kept, envelope: Envelope): void {
    this.#memory[kept.lane]!.set(kept.id, kept);
    this.#byEnvelope.set(envelope, kept);
    this.#memoryBytes += kept.bytes;
    this.#bytes += kept.bytes;
  }

  #shelve(kept: Kept): void {
    this.#shelf[kept.lane]!.set(kept.id, kept);
    if (kept.conflate !== '') this.#shelved.set(kept.conflate, kept);
    this.#bytes += kept.bytes;
  }

  #unshelve(kept: Kept): void {
    if (!this.#shelf[kept.lane]!.delete(kept.id)) return;
    if (this.#shelved.get(kept.conflate) === kept) this.#shelved.delete(kept.conflate);
    this.#bytes -= kept.bytes;
  }
}

function recordOf({ lane, from, receivedWallMs, wire, groups, provenance, hops, conflate }: Envelope, peer: string) {
  return { peer, lane, from, receivedWallMs, wire: wire!, groups, provenance, hops, conflate } satisfies OutboxRecord;
}

/** How long it has waited, by a wall clock that may have been set: what cannot be is taken for nothing. */
function ageOf(receivedWallMs: number, wallMs: number): number {
  const ageMs = wallMs - receivedWallMs;
  return ageMs >= 0 && ageMs <= LONGEST_OFF_MS ? ageMs : 0;
}
