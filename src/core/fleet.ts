// What one relay shows of itself to another, and the one list that is made of it all: plain data, read-only.
import type { Hub } from './hub.ts';
import type { Envelope } from './message.ts';
import type { NodePeer } from './node.ts';
import { isUnit } from './policy.ts';
import type { CertificateStatus, PeerStatus, RelayStatus, Totals, Warning } from './status.ts';

/** Most units in one answer; a search narrows the list. */
export const MAX_UNITS = 1000;
/** Longer texts are cut: they come from phones. */
const MAX_TEXT = 128;

/** A unit as of its last position. */
export interface Unit {
  readonly uid: string;
  readonly callsign: string;
  readonly type: string;
  readonly team: string;
  readonly lat: number;
  readonly lon: number;
  /** Milliseconds from the position's own time to now, by the clock of the relay that answers. */
  readonly ageMs: number;
  /** The link it was heard from there. */
  readonly from: string;
  /** Heard at first hand there, not from another relay. */
  readonly direct: boolean;
}

/** The newest first. */
export interface Units {
  /** All that match, shown or not. */
  readonly total: number;
  readonly units: readonly Unit[];
}

export interface RelayLink {
  readonly name: string;
  readonly kind: string;
  readonly enabled: boolean;
  readonly state: string;
  /** ISO-8601 UTC: since when. */
  readonly since: string;
  /** Code of what is wrong with it; null: nothing. */
  readonly trouble: string | null;
}

/** A peer as told to other relays: without address, identity and policy. Clients are counted with their link, not named. */
export interface RelayPeer {
  readonly name: string;
  readonly link: string;
  readonly kind: string;
  readonly connected: boolean;
  readonly since: string | null;
  readonly via: string | null;
  readonly rttMs: number | null;
  readonly received: number;
  readonly sent: number;
  readonly waiting: number;
}

export interface RelayPeers {
  readonly peers: readonly RelayPeer[];
  /** Connected clients by link. */
  readonly clients: Readonly<Record<string, number>>;
}

/** RelayStatus as other relays are told it. */
export interface RelaySummary extends RelayPeers {
  readonly name: string;
  readonly id: string;
  readonly version: string;
  readonly now: string;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly certificates: readonly CertificateStatus[];
  readonly links: readonly RelayLink[];
  readonly totals: Totals;
  readonly units: number;
  readonly contacts: number;
  readonly warnings: readonly Pick<Warning, 'code' | 'words'>[];
  readonly rssBytes: number;
}

/** One list of units and relays, our own and all peers'. */
export interface Fleet {
  readonly peers: readonly FleetPeer[];
  readonly relays: readonly FleetRelay[];
  /** Matches that were not told, because there are too many. */
  readonly leftOut: number;
  readonly units: readonly FleetUnit[];
}

/** A badge: whether what stands behind the peer is in the list. */
export interface FleetPeer {
  readonly name: string;
  readonly reachable: boolean;
  /** ISO-8601 UTC; null: never. */
  readonly lastContact: string | null;
  /** Why it is not in the list; of one that is the same box as another, by which name it is there; '' when it is. */
  readonly words: string;
}

/** `id` is `peer:NAME/ID`; for our own the id alone, and `peer` null. */
interface Located {
  readonly id: string;
  readonly peer: string | null;
}
export type FleetUnit = Unit & Located;
export type FleetRelay = Located &
  Pick<RelaySummary, 'name' | 'version' | 'startedAt' | 'units'> & {
    readonly links: readonly Pick<RelayLink, 'name' | 'kind' | 'state'>[];
  };

/** `GET /api/node`: how our peers stand. */
export interface NodeStatus {
  readonly name: string;
  readonly id: string;
  readonly peers: readonly NodePeer[];
}

export interface UnitQuery {
  /** Part of uid, callsign, type or team, in any case; '': all. */
  readonly search: string;
  readonly limit: number;
  /** Whether the asker may know of it. */
  may(envelope: Envelope): boolean;
}

/** The units of the picture. */
export function listUnits(
  hub: Pick<Hub, 'picture' | 'peers'>,
  query: UnitQuery,
  now: { nowMs: number; wallMs: number },
): Units {
  const links = new Map(hub.peers().map(({ spec }) => [spec.key, spec.link]));
  const wanted = query.search.toLowerCase();
  const found: Unit[] = [];
  for (const envelope of hub.picture.positions()) {
    if (envelope.expiresMs <= now.nowMs || !query.may(envelope)) continue;
    const unit = unitOf(envelope, links, now.wallMs);
    if (unit && matches(unit, wanted)) found.push(unit);
  }
  found.sort((a, b) => a.ageMs - b.ageMs);
  return { total: found.length, units: found.slice(0, Math.min(query.limit, MAX_UNITS)) };
}

function unitOf(envelope: Envelope, links: ReadonlyMap<string, string>, wallMs: number): Unit | undefined {
  const { message, from, provenance, hops } = envelope;
  if (message.kind !== 'event' || !isUnit(message.event)) return undefined;
  const { uid, callsign, type, team, lat, lon, timeMs } = message.event;
  return {
    uid: uid.slice(0, MAX_TEXT),
    callsign: callsign.slice(0, MAX_TEXT),
    type: type.slice(0, MAX_TEXT),
    team: team.slice(0, MAX_TEXT),
    lat,
    lon,
    ageMs: Math.round(wallMs - timeMs),
    from: links.get(from) ?? '',
    direct: provenance.length === 0 && hops.current === 0,
  };
}

/** Whether `wanted` (lower case) is part of what names the unit. */
function matches({ uid, callsign, type, team }: Unit, wanted: string): boolean {
  return wanted === '' || [uid, callsign, type, team].some((text) => text.toLowerCase().includes(wanted));
}

export function relayLinks(status: RelayStatus): RelayLink[] {
  return status.links.map(({ name, kind, enabled, state, sinceMs, lastTrouble }) => {
    const well = !enabled || state === 'listening' || state === 'connected';
    return {
      name,
      kind,
      enabled,
      state,
      since: new Date(sinceMs).toISOString(),
      trouble: well ? null : (lastTrouble?.code ?? null),
    };
  });
}

export function relayPeers(status: RelayStatus): RelayPeers {
  const clients: Record<string, number> = {};
  for (const peer of status.peers.filter(isClient)) {
    if (peer.connected) clients[peer.link] = (clients[peer.link] ?? 0) + 1;
  }
  return { peers: status.peers.filter((peer) => !isClient(peer)).map(relayPeer), clients };
}

/** Somebody who connected to a CoT listener: a phone, with a callsign for a name. */
function isClient({ kind, key, link }: PeerStatus): boolean {
  return kind === 'cot' && key !== link;
}

function relayPeer(peer: PeerStatus): RelayPeer {
  const { name, link, kind, connected, since, via, rttMs, received, lanes } = peer;
  const sum = (field: 'sent' | 'queued') => lanes.reduce((total, lane) => total + lane[field], 0);
  return {
    name,
    link,
    kind,
    connected,
    since,
    via,
    rttMs,
    received: received.events,
    sent: sum('sent'),
    waiting: sum('queued'),
  };
}

/** The status without what is nobody else's business: addresses, fingerprints, policies, clients by name, and warnings that name them. */
export function relaySummary(status: RelayStatus): RelaySummary {
  const { name, id, version, now, startedAt, uptimeMs, certificates, units, contacts, warnings, memory } = status;
  return {
    name,
    id,
    version,
    now,
    startedAt,
    uptimeMs,
    certificates,
    links: relayLinks(status),
    ...relayPeers(status),
    totals: status.totals,
    units,
    contacts,
    warnings: warnings.map(({ code }) => ({ code, words: code.replaceAll('_', ' ') })),
    rssBytes: memory.rssBytes,
  };
}
