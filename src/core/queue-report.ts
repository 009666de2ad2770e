// What waits for one peer, lane by lane, for a person to look at.
import type { Clock } from '../lib/clock.ts';
import { type Envelope, LANES, type Lane, type LaneName, sizeOf } from './message.ts';
import { isKept } from './outbox.ts';
import type { Peer } from './peer.ts';
import { nameOf } from './peer-name.ts';
import type { DropCounts } from './reason.ts';

/** Most messages listed of one lane. */
export const MAX_LISTED = 50;
const MAX_TEXT = 256;

export interface Waiting {
  /** Of an event or contact; else what it is. */
  readonly what: string;
  readonly type: string;
  readonly callsign: string;
  readonly bytes: number;
  /** Milliseconds since it was received. */
  readonly ageMs: number;
  /** It tells nothing new: it goes when nothing else waits, or in so many milliseconds; null: it goes in its turn. */
  readonly dueInMs: number | null;
  /** Milliseconds until it is dropped as expired; null: it does not expire. (What an outbox keeps has its time.) */
  readonly expiresInMs: number | null;
}

export interface QueueReport {
  readonly peer: string;
  readonly name: string;
  readonly connected: boolean;
  readonly bytes: number;
  readonly lanes: readonly {
    readonly lane: LaneName;
    readonly queued: number;
    /** Of these on disk alone: what they are is not read to be shown. */
    readonly onDisk: number;
    /** Of the oldest of them all, milliseconds; null: none waits. */
    readonly oldestMs: number | null;
    readonly offered: number;
    readonly sent: number;
    readonly dropped: DropCounts;
    /** In the order in which they came; where a line is thin, positions go by what they tell. */
    readonly waiting: readonly Waiting[];
    /** Wait too, and are not listed. */
    readonly leftOut: number;
  }[];
}

export function queueReport(peer: Peer, clock: Clock): QueueReport {
  const nowMs = clock.nowMs();
  return {
    peer: peer.spec.key,
    name: nameOf(peer),
    connected: peer.session !== undefined,
    bytes: peer.queue.bytes + (peer.outbox?.shelvedBytes ?? 0),
    lanes: LANES.map((lane, index) => {
      const { offered, sent, dropped } = peer.lanes[index]!;
      const onDisk = peer.outbox?.shelvedIn(index as Lane) ?? 0;
      const queued = peer.queue.lengthOf(index) + onDisk;
      const waiting = listed(peer, index as Lane, nowMs);
      const received = [...waiting.map(({ ageMs }) => ageMs), ...agesOnDisk(peer, index as Lane, nowMs)];
      const oldestMs = received.length > 0 ? Math.max(...received) : null;
      return {
        lane,
        queued,
        onDisk,
        oldestMs,
        offered,
        sent,
        dropped: { ...dropped },
        waiting,
        leftOut: queued - waiting.length,
      };
    }),
  };
}

function agesOnDisk({ outbox }: Peer, lane: Lane, nowMs: number): readonly number[] {
  const receivedMs = outbox?.oldestShelvedMs(lane);
  return receivedMs === undefined ? [] : [Math.round(nowMs - receivedMs)];
}

function listed({ queue, outbox }: Peer, lane: Lane, nowMs: number): readonly Waiting[] {
  const waiting: Waiting[] = [];
  for (const { envelope, dueMs } of queue.listing(lane)) {
    if (waiting.length >= MAX_LISTED) break;
    waiting.push(shown(envelope, dueMs, nowMs, outbox !== undefined && isKept(envelope)));
  }
  return waiting;
}

function shown(envelope: Envelope, dueMs: number, nowMs: number, kept: boolean): Waiting {
  const { receivedMs, expiresMs } = envelope;
  return {
    ...whatOf(envelope),
    bytes: sizeOf(envelope),
    ageMs: Math.round(nowMs - receivedMs),
    dueInMs: dueMs > 0 ? Math.max(0, Math.round(dueMs - nowMs)) : null,
    expiresInMs: !kept && Number.isFinite(expiresMs) ? Math.round(expiresMs - nowMs) : null,
  };
}

function whatOf({ message }: Envelope): Pick<Waiting, 'what' | 'type' | 'callsign'> {
  if (message.kind === 'event') {
    const { uid, type, callsign } = message.event;
    return { what: uid, type, callsign: callsign.slice(0, MAX_TEXT) };
  }
  if (message.kind !== 'contact') return { what: message.summary.slice(0, MAX_TEXT), type: message.kind, callsign: '' };
  const { op, contact } = message;
  return { what: contact.uid, type: `contact ${op}`, callsign: contact.callsign.slice(0, MAX_TEXT) };
}
