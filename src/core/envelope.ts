// Makes of what a link handed in the envelope that the hub routes.
import type { Clock } from '../lib/clock.ts';
import {
  type CotEvent,
  type Envelope,
  type Hops,
  type Inbound,
  MARKER,
  type Message,
  type Provenance,
} from './message.ts';
import type { OutboxRecord } from './outbox-disk.ts';
import type { Peer } from './peer.ts';
import { conflationKey, enteredGroups, laneOf, waitedMsOf } from './policy.ts';

/** Nothing is kept as current for longer than this, whatever stale time it claims. */
const LONGEST_LIFE_MS = 7 * 24 * 3_600_000;

const NO_PROVENANCE: readonly Provenance[] = [];
const NO_HOPS: Hops = { max: -1, current: 0 };

export interface Receipt {
  readonly seq: number;
  readonly peer: Peer;
  readonly nowMs: number;
  readonly wallMs: number;
  /** The unit's position before this one. */
  readonly before?: CotEvent | undefined;
}

export function makeEnvelope(inbound: Inbound, { seq, peer, nowMs, wallMs, before }: Receipt): Envelope {
  const { message } = inbound;
  const lane = laneOf(message, before);
  // What must not be lost is as old as it is; of positions the newest counts.
  const waitedMs = lane <= MARKER ? waitedMsOf(inbound) : 0;
  return {
    seq,
    message,
    wire: inbound.wire,
    from: peer.spec.key,
    receivedWallMs: wallMs - waitedMs,
    receivedMs: nowMs - waitedMs,
    expiresMs: message.kind === 'event' ? nowMs + lifeMs(message.event, wallMs) : Number.POSITIVE_INFINITY,
    groups: enteredGroups(inbound.groups, peer.policy),
    provenance: inbound.provenance ?? NO_PROVENANCE,
    hops: limited(inbound.hops ?? NO_HOPS, peer.policy.maxHops),
    lane,
    conflate: conflationKey(message, lane),
    encodings: undefined,
    held: undefined,
  };
}

/** As it was before a restart. */
export function restoredEnvelope(
  record: OutboxRecord,
  message: Message,
  { seq, receivedMs, clock }: { readonly seq: number; readonly receivedMs: number; readonly clock: Clock },
): Envelope {
  const { wire, from, receivedWallMs, groups, provenance, hops, lane, conflate } = record;
  const ageMs = clock.nowMs() - receivedMs;
  const expiresMs =
    message.kind === 'event' ? receivedMs + lifeMs(message.event, clock.wallMs() - ageMs) : Number.POSITIVE_INFINITY;
  return {
    ...{ seq, message, wire, from, receivedWallMs, receivedMs, expiresMs, groups, provenance, hops, lane, conflate },
    encodings: undefined,
    held: undefined,
  };
}

function limited(hops: Hops, maxHops: number): Hops {
  return maxHops >= 0 && (hops.max < 0 || maxHops < hops.max) ? { ...hops, max: maxHops } : hops;
}

/** How long a message is worth sending: by its own stale time, but where clocks disagree no longer than the life it was given. */
function lifeMs(event: CotEvent, wallMs: number): number {
  const left = event.staleMs - wallMs;
  const given = Math.max(0, event.staleMs - event.timeMs);
  return Math.min(LONGEST_LIFE_MS, left > 0 ? Math.min(left, given) : given);
}
