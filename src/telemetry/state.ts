// What a broker is told: the status in few words. Plain data, small: it may go over a satellite.
import type { LinkStatus, PeerStatus, RelayStatus } from '../core/status.ts';

/** Most warnings named. */
const MAX_WARNINGS = 16;
const MAX_WORDS = 200;
const UP: readonly string[] = ['listening', 'connected'];

/** TOPIC/ID/status */
export function relayState(status: RelayStatus) {
  const { links, peers, totals, warnings, host } = status;
  const running = links.filter(({ enabled }) => enabled);
  const down = running.filter((link) => !isUp(link));
  return {
    name: status.name,
    version: status.version,
    started_at: status.startedAt,
    state: down.length > 0 ? 'link_down' : warnings.length > 0 ? 'warning' : 'ok',
    links_up: running.length - down.length,
    links_down: down.length,
    peers_connected: peers.filter(({ connected }) => connected).length,
    waiting: totals.queued,
    received: totals.received,
    sent: totals.sent,
    units: status.units,
    newest_fix_age_s: newestFixAge(peers),
    warnings: warnings.slice(0, MAX_WARNINGS).map(({ code }) => code),
    problem: warnings[0]?.words.slice(0, MAX_WORDS) ?? null,
    certificate_days: least(status.certificates.map(({ daysLeft }) => daysLeft)),
    memory_mb: Math.round(status.memory.rssBytes / 1e6),
    temperature_c: host.temperatureC,
    under_voltage: host.underVoltage,
    storage_free_mb: host.storage && Math.round(host.storage.freeBytes / 1e6),
  };
}

/** TOPIC/ID/link/NAME */
export function linkState(link: LinkStatus, all: readonly PeerStatus[]) {
  const peers = all.filter((peer) => peer.link === link.name);
  const sum = (pick: (peer: PeerStatus) => number) => peers.reduce((total, peer) => total + pick(peer), 0);
  const queued = (peer: PeerStatus) => peer.lanes.reduce((total, lane) => total + lane.queued, 0);
  const sent = (peer: PeerStatus) => peer.lanes.reduce((total, lane) => total + lane.sent, 0);
  return {
    kind: link.kind,
    state: link.enabled ? link.state : 'disabled',
    up: isUp(link),
    since: new Date(link.sinceMs).toISOString(),
    peers_connected: peers.filter(({ connected }) => connected).length,
    waiting: sum(queued),
    received: sum(({ received }) => received.events),
    sent: sum(sent),
    newest_fix_age_s: newestFixAge(peers),
    rtt_ms: least(peers.flatMap(({ rttMs }) => (rttMs === null ? [] : [rttMs]))),
    today_bytes: link.budget?.usedTodayBytes ?? null,
    problem: isUp(link) || !link.enabled ? null : (link.lastTrouble?.words.slice(0, MAX_WORDS) ?? null),
  };
}

export type RelayState = ReturnType<typeof relayState>;
export type LinkState = ReturnType<typeof linkState>;

function isUp({ enabled, state }: LinkStatus): boolean {
  return enabled && UP.includes(state);
}

/** Of the connected peer that was given nothing new for longest: one that hangs is not hidden by one that does not. */
function newestFixAge(peers: readonly PeerStatus[]): number | null {
  const ages = peers.flatMap(({ connected, newestSentMsAgo: age }) => (connected && age !== null ? [age] : []));
  return ages.length === 0 ? null : Math.round(Math.max(...ages) / 1000);
}

function least(values: readonly number[]): number | null {
  return values.length === 0 ? null : Math.min(...values);
}
