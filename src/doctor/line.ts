// The line over time: connections that end after the same silence again and again, peers that are away, what waits and what the
// line's allowance says.
import type { Check } from '../core/diagnosis.ts';
import type { NumberedEvent } from '../core/events.ts';
import type { CloseReason } from '../core/reason.ts';
import type { LinkStatus, PeerStatus } from '../core/status.ts';
import { bad, ok, span, warn } from './words.ts';

/** So many connections in a row must have ended alike. */
const ALIKE = 3;
/** Lengths this close to their middle one are alike. */
const SPREAD = 0.15;
/** NATs and firewalls forget after 30 s to some minutes; what is longer or shorter has other reasons. */
const SHORTEST_MS = 20_000;
const LONGEST_MS = 20 * 60_000;
/** How a connection ends whose way was forgotten. */
const FORGOTTEN: ReadonlySet<CloseReason> = new Set([
  'idle_timeout',
  'network_error',
  'remote_closed',
  'write_timeout',
]);
/** What waits longer for a peer that is there is worth a word. */
const WAITS_MS = 60_000;

/** `events`: the oldest first. */
export function natChecks(peer: PeerStatus, kind: string, events: readonly NumberedEvent[]): Check[] {
  const lives = livesOf(peer.key, events).slice(-ALIKE);
  if (lives.length < ALIKE) return [];
  const middle = [...lives].sort((a, b) => a - b)[Math.floor(ALIKE / 2)]!;
  const alike = lives.every((life) => Math.abs(life - middle) <= middle * SPREAD);
  if (!alike || middle < SHORTEST_MS || middle > LONGEST_MS) return [];
  const words = `the last ${ALIKE} connections with ${peer.name} each broke after about ${span(middle)}: that is how a NAT or firewall ends connections that are silent for too long`;
  return [warn('nat', peer.name, words, keepalive(kind, Math.max(5, Math.floor(middle / 2000))))];
}

/** How long its connections lasted that ended by themselves, the latest last. */
function livesOf(key: string, events: readonly NumberedEvent[]): number[] {
  const lives: number[] = [];
  let upMs: number | undefined;
  for (const { wallMs, event } of events) {
    if (event.type === 'peer_up' && event.peer === key) upMs = wallMs;
    if (event.type !== 'peer_down' || event.peer !== key || upMs === undefined) continue;
    if (FORGOTTEN.has(event.reason)) lives.push(wallMs - upMs);
    else lives.length = 0;
    upMs = undefined;
  }
  return lives;
}

function keepalive(kind: string, seconds: number): string {
  const longer = 'or raise the time after which the router forgets idle TCP connections';
  if (kind === 'portal') return `set keepalive_seconds: ${seconds} on this link at both boxes, ${longer}`;
  if (kind === 'fed2') return `set health_interval_seconds: ${Math.min(10, seconds)} on the side that dials, ${longer}`;
  return `have the other side send something (a keepalive, a ping) every ${seconds} s, ${longer}`;
}

/** A federate or server that is not there: in its link's words, or why its last connection ended. */
export function awayChecks(peer: PeerStatus, nowMs: number): Check[] {
  if (peer.connected || !peer.durable) return [];
  const since = peer.since === null ? '' : ` for ${span(nowMs - Date.parse(peer.since))}`;
  if (peer.trouble) return [bad('peer', peer.name, peer.trouble.words, peer.trouble.fix)];
  if (!peer.lastClose) return [];
  const words = `${peer.name} is away${since}; the last connection ended because ${peer.lastClose.words}`;
  return [warn('peer', peer.name, words, 'it comes back by itself; if not, look over there whether it runs')];
}

export function queueChecks({ name, connected, lanes, queuedBytes }: PeerStatus, { budget }: LinkStatus): Check[] {
  const checks: Check[] = [];
  const closed = budget?.closedLanes ?? [];
  if (budget && closed.length > 0) {
    const words = `today's allowance of ${budget.perDayBytes} bytes is used up: until midnight UTC no more ${closed.join(', ')}`;
    checks.push(warn('budget', name, words, 'raise budget.per_day of this link, or let less go out (filter_out)'));
  }
  const queued = lanes.reduce((sum, lane) => sum + lane.queued, 0);
  const oldestMs = Math.max(0, ...lanes.map((lane) => lane.oldestMs ?? 0));
  const lost = lanes.reduce((sum, { dropped }) => sum + (dropped.queue_full ?? 0) + (dropped.outbox_full ?? 0), 0);
  if (lost > 0) {
    const fix =
      'let less go out (filter_out, thinning), raise the budget, or give the queue more room (queue, limits.outbox)';
    checks.push(warn('queue', name, `${lost} messages for ${name} were lost because too much waited`, fix));
  } else if (connected && queued > 0 && oldestMs > WAITS_MS) {
    const words = `${queued} messages (${queuedBytes} bytes) wait for ${name} although it is connected, the oldest for ${span(oldestMs)}`;
    checks.push(
      warn('queue', name, words, 'the line is slower than what is said: let less go out (filter_out, thinning)'),
    );
  } else if (queued > 0) {
    checks.push(ok('queue', name, `${queued} messages wait for ${name}, the oldest for ${span(oldestMs)}`));
  }
  return checks;
}
