// Up, but nothing flows: what the counters of a connected peer say about groups, filters, clocks and what it sends.
import type { Check } from '../core/diagnosis.ts';
import type { NodePeer } from '../core/node.ts';
import type { DropReason } from '../core/reason.ts';
import type { PeerStatus } from '../core/status.ts';
import { bad, ok, span, warn } from './words.ts';

/** Peers of one link that are looked at. */
export const MAX_PEERS = 24;
/** A share of what was said must be lost before it is a finding. */
const MANY = 0.2;
/** Fewer are chance. */
const FEW = 3;
/** A clock that is off by more costs events (core/policy.ts refuses what is 5 min past its stale time). */
const CLOCK_OFF_MS = 60_000;

export function flowChecks(peer: PeerStatus): Check[] {
  const { name } = peer;
  const found = [...groupChecks(peer), ...inChecks(peer), ...outChecks(peer)];
  if (found.length > 0) return found;
  const sent = sum(peer, (lane) => lane.sent);
  const heard = peer.lastHeardMsAgo === null ? 'nothing heard yet' : `last heard ${span(peer.lastHeardMsAgo)} ago`;
  return [ok('flow', name, `${peer.received.events} messages in, ${sent} out, ${heard}`)];
}

/** Groups it said it has, held against those that may cross. */
function groupChecks({ name, groups, policy }: PeerStatus): Check[] {
  if (groups.length === 0) return [];
  const said = `${name} has the groups ${groups.slice(0, 8).join(', ')}`;
  const check = (key: 'groups_in' | 'groups_out', allowed: readonly string[]) =>
    allowed.length === 0 || allowed.some((group) => groups.includes(group))
      ? []
      : [
          warn(
            'groups',
            name,
            `no group is shared: ${said}, and ${key} of this link has only ${allowed.slice(0, 8).join(', ')}`,
            `put one of its groups into ${key}, leave ${key} empty, or have the group given to us over there`,
          ),
        ];
  return [...check('groups_in', policy.groupsIn), ...check('groups_out', policy.groupsOut)];
}

function inChecks({ name, received }: PeerStatus): Check[] {
  const { events, refused } = received;
  const lost = (reason: DropReason) => refused[reason] ?? 0;
  const many = (reason: DropReason) => lost(reason) >= FEW && lost(reason) >= events * MANY;
  const share = (reason: DropReason) => `${lost(reason)} of ${events} messages from ${name}`;
  const checks: Check[] = [];
  if (many('stale')) {
    const fix = `set the clocks: let both sides, and the phones behind them, reach a time server; "waystation policy test --from ${name}" shows an event's times`;
    const words = `${share('stale')} were refused because of their time: the clocks differ by more than 5 min`;
    checks.push(bad('clock', name, words, fix));
  }
  if (many('filtered_in')) {
    const all = lost('filtered_in') >= events;
    const words = `${share('filtered_in')} were stopped by what this link lets in`;
    const fix =
      'look at in, allow_types, block_types, groups_in and filter_in of its policy; "waystation policy test" names the rule';
    checks.push((all ? bad : warn)('filters', name, words, fix));
  }
  if (many('malformed')) {
    const fix = 'have the program there updated; "waystation log" has what was wrong';
    checks.push(warn('protocol', name, `${share('malformed')} could not be read`, fix));
  }
  if (many('hop_limit')) {
    const fix = 'raise the hop limit where the events come from';
    checks.push(warn('filters', name, `${share('hop_limit')} had made all the hops they may`, fix));
  }
  if (many('loop') && lost('loop') >= events) {
    const fix = 'let it get events from somewhere else, too; that these stop here is right';
    checks.push(warn('flow', name, `all that ${name} sends has passed this box before`, fix));
  }
  return checks;
}

function outChecks(peer: PeerStatus): Check[] {
  const { name } = peer;
  const offered = sum(peer, (lane) => lane.offered);
  const lost = (reason: DropReason) => sum(peer, (lane) => lane.dropped[reason] ?? 0);
  const sent = sum(peer, (lane) => lane.sent);
  const checks: Check[] = [];
  const stopped = lost('filtered_out');
  if (stopped >= FEW && sent === 0) {
    const words = `all of the ${stopped} messages for ${name} were stopped by what this link lets out`;
    const fix =
      'look at out, allow_types, block_types, groups_out and filter_out of its policy; "waystation policy test" names the rule';
    checks.push(bad('filters', name, words, fix));
  }
  const hops = lost('hop_limit');
  if (hops >= FEW && hops >= offered * MANY) {
    const fix = 'raise max_hops of the link where they come in';
    checks.push(warn('filters', name, `${hops} messages for ${name} had made all the hops they may`, fix));
  }
  return checks;
}

/** Clocks of peers, where their protocol tells: PORTAL02 measures it with every ping. */
export function clockChecks(peers: readonly NodePeer[]): Check[] {
  return peers.flatMap(({ name, clockOffsetMs }) => {
    if (clockOffsetMs === undefined || clockOffsetMs === null || Math.abs(clockOffsetMs) < CLOCK_OFF_MS) return [];
    const words = `the clock of ${name} is ${span(Math.abs(clockOffsetMs))} ${clockOffsetMs < 0 ? 'behind' : 'ahead of'} ours`;
    const fix = 'set the one that is wrong: let both boxes reach a time server';
    return [warn('clock', name, words, fix)];
  });
}

function sum(peer: PeerStatus, pick: (lane: PeerStatus['lanes'][number]) => number): number {
  return peer.lanes.reduce((total, lane) => total + pick(lane), 0);
}
