// The one RelayStatus that page, API, WebSocket, Prometheus, MQTT and command line render. Plain data, built on demand.

import type { Clock } from '../lib/clock.ts';
import type { Host } from '../lib/host.ts';
import type { ApplianceStatus } from './appliance.ts';
import type { BudgetStatus } from './budget.ts';
import type { Traffic } from './day-traffic.ts';
import { addDrops, type Departed } from './departed.ts';
import type { FilesStatus } from './files-status.ts';
import { NO_RATES, type Rates } from './history.ts';
import type { Hub } from './hub.ts';
import type { LineStatus } from './line.ts';
import { LANES, type Lane } from './message.ts';
import { type CrossingStatus, networkOf } from './networks.ts';
import { NEVER, type Peer } from './peer.ts';
import { nameOf, saidBeside } from './peer-name.ts';
import type { Policy } from './policy.ts';
import type { CLOSE_WORDS, DROP_WORDS, DropCounts } from './reason.ts';
import type { RecorderStatus } from './recorder-status.ts';
import type { Proof } from './session.ts';

/** Words for a person: what is wrong and what to do. */
export interface Warning {
  readonly code: string;
  readonly words: string;
  readonly fix: string;
}

export interface LinkStatus {
  readonly name: string;
  readonly kind: string;
  readonly enabled: boolean;
  readonly state: string;
  readonly detail: string;
  /** Wall clock, milliseconds, when it came into this state. */
  readonly sinceMs: number;
  readonly lastTrouble?: (Warning & { readonly atMs: number }) | undefined;
  readonly refusals: Readonly<Record<string, number>>;
  readonly lastRefusal?: (Warning & { readonly address: string; readonly atMs: number }) | undefined;
  /** What a person should know although the link works. */
  readonly warnings?: readonly Warning[] | undefined;
  /** What its line may cost, and has cost today. */
  readonly budget?: BudgetStatus | null | undefined;
  /** Bytes it carried today (UTC), looked at every ten seconds; null: none that is known of. */
  readonly traffic?: Pick<Traffic, 'inBytes' | 'outBytes'> | null | undefined;
}

export interface LaneStatus {
  readonly lane: string;
  readonly queued: number;
  /** Age of the oldest waiting message, milliseconds; null when none waits. */
  readonly oldestMs: number | null;
  /** Let in from this peer. */
  readonly received: number;
  readonly offered: number;
  readonly sent: number;
  readonly dropped: DropCounts;
}

export interface OutboxStatus {
  /** Messages kept: those that wait, and those on their way. */
  readonly messages: number;
  readonly bytes: number;
  /** Age of the oldest, milliseconds since the first relay received it; null when there is none. */
  readonly oldestMs: number | null;
  /** Of these, waiting on disk alone. */
  readonly onDisk: number;
  /** Waited when this relay started: counted as offered then. */
  readonly restored: number;
}

export interface PeerStatus {
  readonly key: string;
  readonly link: string;
  readonly kind: string;
  readonly name: string;
  /** What it calls itself, where it was given another name here. */
  readonly saidName: string | null;
  readonly identity: string | null;
  /** `none` is shown as unauthenticated. */
  readonly proof: Proof | null;
  readonly connected: boolean;
  /** Remembered while it is away. */
  readonly durable: boolean;
  readonly address: string | null;
  /** ISO-8601 UTC: since when it is up, or down. */
  readonly since: string | null;
  readonly sessions: number;
  /** Name of the hub it is reached through; null when direct or away. */
  readonly via: string | null;
  /** Why it is not connected. */
  readonly trouble: Warning | null;
  readonly lastClose: { readonly reason: string; readonly words: string } | null;
  readonly rttMs: number | null;
  readonly groups: readonly string[];
  readonly policy: Policy;
  readonly received: { readonly events: number; readonly bytes: number; readonly refused: DropCounts };
  /** Events per second, mean of the last minute. */
  readonly rates: Rates;
  readonly lastHeardMsAgo: number | null;
  /** Age of the newest position handed to the wire, milliseconds since it was received here. */
  readonly newestSentMsAgo: number | null;
  /** The same of the newest position that the peer has: acknowledged, where its protocol acknowledges. */
  readonly newestArrivedMsAgo: number | null;
  readonly queuedBytes: number;
  readonly line: LineStatus;
  /** What must not be lost and is not known to have arrived; null where nothing is kept: the peer does not outlive its connection. */
  readonly outbox: OutboxStatus | null;
  readonly lanes: readonly LaneStatus[];
}

/** One of several networks inside this box. */
export interface NetworkStatus {
  readonly name: string;
  /** Links that are in it, or have a peer that is. */
  readonly links: readonly string[];
  /** Peers and clients that are connected. */
  readonly connected: number;
  readonly totals: Totals;
  /** Events per second of those who are there, mean of the last minute. */
  readonly rates: Rates;
}

export interface Totals {
  readonly received: number;
  readonly sent: number;
  readonly queued: number;
  readonly refused: DropCounts;
  readonly dropped: DropCounts;
}

/** What peers of a link did that are no longer there. */
export interface DepartedStatus {
  readonly link: string;
  readonly network: string;
  readonly peers: number;
  readonly received: { readonly events: number; readonly bytes: number; readonly refused: DropCounts };
  readonly lanes: readonly Pick<LaneStatus, 'lane' | 'received' | 'offered' | 'sent' | 'dropped'>[];
}

export interface CertificateStatus {
  readonly what: string;
  readonly notAfter: string;
  readonly daysLeft: number;
}

export interface RelayStatus {
  readonly name: string;
  readonly id: string;
  readonly version: string;
  readonly commit: string;
  readonly now: string;
  /** Where the time comes from, in words. */
  readonly clockFrom?: string | undefined;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly caFingerprint: string;
  readonly federationFingerprint: string;
  readonly certificates: readonly CertificateStatus[];
  readonly links: readonly LinkStatus[];
  readonly peers: readonly PeerStatus[];
  readonly departed: readonly DepartedStatus[];
  /** What crosses between networks inside this box, each way. */
  readonly networks?: readonly CrossingStatus[] | undefined;
  /** The networks inside this box, each with its totals; none: it is one. */
  readonly byNetwork?: readonly NetworkStatus[] | undefined;
  readonly totals: Totals;
  readonly units: number;
  readonly contacts: number;
  readonly warnings: readonly Warning[];
  /** Radio silence: only the listeners for phones run. */
  readonly emcon?: { readonly silent: boolean; readonly since: string | null; readonly by: string | null };
  /** Files of phones; missing: none are served. */
  readonly files?: FilesStatus | undefined;
  readonly recorder?: RecorderStatus | undefined;
  readonly memory: { readonly rssBytes: number };
  readonly host: Host;
  /** Missing: this is no box that was started from the card image. */
  readonly appliance?: ApplianceStatus | undefined;
  readonly words: { readonly drop: typeof DROP_WORDS; readonly close: typeof CLOSE_WORDS };
}

/** One line of the live stream (WebSocket /api/events): an event, and when this relay received it. */
export interface LiveEvent {
  /** ISO-8601 UTC. */
  readonly received: string;
  /** Key of the peer it came from. */
  readonly from: string;
  readonly uid: string;
  readonly type: string;
  readonly callsign: string;
  readonly time: string;
  readonly stale: string;
  readonly lat: number;
  readonly lon: number;
  /** Milliseconds from the event's own time to its receipt here, by this box's clock. */
  readonly ageMs: number;
  readonly xml: string;
}

/** What the hub knows of one peer. */
export function peerStatus(peer: Peer, clock: Clock, rates: Rates = NO_RATES): PeerStatus {
  const nowMs = clock.nowMs();
  const { session, spec } = peer;
  const since = peer.upSinceWallMs ?? peer.downSinceWallMs;
  return {
    key: spec.key,
    link: spec.link,
    kind: spec.kind,
    name: nameOf(peer),
    saidName: saidBeside(peer),
    identity: session?.identity.id ?? null,
    proof: session?.identity.proof ?? null,
    connected: session !== undefined,
    durable: spec.durable,
    address: session?.address ?? null,
    since: since === undefined ? null : new Date(since).toISOString(),
    sessions: peer.sessions,
    via: session?.via ?? null,
    trouble: peer.trouble ?? null,
    lastClose: peer.lastClose ?? null,
    rttMs: peer.rttMs ?? null,
    groups: peer.saidGroups,
    policy: peer.policy,
    received: { ...peer.received, refused: { ...peer.refused } },
    rates,
    lastHeardMsAgo: since0(peer.lastHeardMs, nowMs),
    newestSentMsAgo: since0(peer.newestSentMs, nowMs),
    newestArrivedMsAgo: since0(peer.newestArrivedMs, nowMs),
    queuedBytes: peer.queue.bytes + (peer.outbox?.shelvedBytes ?? 0),
    line: peer.line.status(),
    outbox: outboxStatus(peer, nowMs),
    lanes: LANES.map((lane, index) => ({
      lane,
      received: peer.lanes[index]!.received,
      queued: peer.queue.lengthOf(index) + (peer.outbox?.shelvedIn(index as Lane) ?? 0),
      oldestMs: since0(peer.queue.oldestMs(index) ?? peer.outbox?.oldestShelvedMs(index as Lane), nowMs),
      offered: peer.lanes[index]!.offered,
      sent: peer.lanes[index]!.sent,
      dropped: { ...peer.lanes[index]!.dropped },
    })),
  };
}

/** Sums over all peers, and what is known of what they said. */
export function hubStatus(hub: Pick<Hub, 'peers' | 'departed' | 'crossings' | 'networkLinks' | 'history' | 'picture'>) {
  return {
    departed: departedStatus(hub),
    networks: hub.crossings,
    byNetwork: networkStatus(hub),
    totals: totals(hub),
    units: hub.picture.units,
    contacts: hub.picture.contacts,
  };
}

/** What went with the peers that left, by link. */
export function departedStatus(hub: Pick<Hub, 'departed'>): readonly DepartedStatus[] {
  return Array.from(hub.departed.values(), ({ link, network, peers, received, refused, lanes }) => ({
    link,
    network,
    peers,
    received: { ...received, refused: { ...refused } },
    lanes: lanes.map((counters, index) => ({ lane: LANES[index]!, ...counters, dropped: { ...counters.dropped } })),
  }));
}

function outboxStatus({ outbox }: Peer, nowMs: number): OutboxStatus | null {
  if (!outbox) return null;
  const { count, bytes, shelved, restored } = outbox;
  return { messages: count, bytes, oldestMs: since0(outbox.oldestMs(), nowMs), onDisk: shelved, restored };
}

/** Sums over every peer that is or was. */
export function totals(hub: Pick<Hub, 'peers' | 'departed'>): Totals {
  return sumsOf(hub.peers(), hub.departed.values());
}

/** The same for each network of the box, by that in which a peer is, or was when it went; none: the box is one. */
export function networkStatus(
  hub: Pick<Hub, 'peers' | 'departed' | 'networkLinks' | 'history'>,
): readonly NetworkStatus[] {
  return Array.from(hub.networkLinks, ([name, links]) => {
    const peers = hub.peers().filter(({ policy }) => networkOf(policy) === name);
    const departed = [...hub.departed.values()].filter(({ network }) => network === name);
    const rates = peers.map(({ spec }) => hub.history.rates(spec.key));
    return {
      name,
      links: [...new Set([...links, ...peers.map(({ spec }) => spec.link)])],
      connected: peers.filter(({ session }) => session).length,
      totals: sumsOf(peers, departed),
      rates: { in: sum(rates.map((one) => one.in)), out: sum(rates.map(({ out }) => out)) },
    };
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

function sumsOf(peers: readonly Peer[], departed: Iterable<Departed>): Totals {
  const sums = { received: 0, sent: 0, queued: 0, refused: {} as DropCounts, dropped: {} as DropCounts };
  for (const peer of peers) {
    sums.received += peer.received.events;
    sums.queued += peer.waits;
    addDrops(sums.refused, peer.refused);
    for (const lane of peer.lanes) {
      sums.sent += lane.sent;
      addDrops(sums.dropped, lane.dropped);
    }
  }
  for (const gone of departed) {
    sums.received += gone.received.events;
    sums.sent += gone.sent;
    addDrops(sums.refused, gone.refused);
    addDrops(sums.dropped, gone.dropped);
  }
  return sums;
}

/** Messages on disk whose peers have not come since the start. */
export function unclaimedWarning(count: number): readonly Warning[] {
  if (count === 0) return [];
  const words = `${count} messages wait on disk for peers that have not connected since the start`;
  return [{ code: 'outbox_unclaimed', words, fix: 'none: they go out when the peer comes back, or end in a day' }];
}

function since0(thenMs: number | undefined, nowMs: number): number | null {
  return thenMs === undefined || thenMs === NEVER ? null : Math.max(0, Math.round(nowMs - thenMs));
}
