// A link that waits for others: does it listen, where, who came and who was turned away. What stands between this box and them
// cannot be seen from here, so a door at which nobody ever knocked is said to be just that.

import type { Check } from '../core/diagnosis.ts';
import type { DepartedStatus, LinkStatus, PeerStatus } from '../core/status.ts';
import { isLoopback } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import type { Way } from '../links/link.ts';
import { formatAddress, parseAddress } from '../links/stream.ts';
import { holderOf } from './holder.ts';
import { bad, ok, span, unknown, warn } from './words.ts';

/** A refusal longer ago is history when somebody is connected. */
const RECENT_MS = 10 * 60_000;

export interface Door {
  readonly ways: readonly Way[];
  readonly status: LinkStatus;
  readonly peers: readonly PeerStatus[];
  readonly departed: readonly DepartedStatus[];
  /** Addresses and names others reach this box by. */
  readonly hosts: readonly string[];
  readonly clock: Clock;
}

export function doorChecks(door: Door): Check[] {
  if (door.ways.length === 0) return [];
  const { status, ways } = door;
  const { lastTrouble } = status;
  if (lastTrouble && (status.state === 'waiting' || status.state === 'failed')) return [shut(lastTrouble, ways)];
  if (ways.every(({ transport }) => transport === 'udp')) return heardChecks(door);
  const bound =
    status.state === 'listening' ? status.detail : ways.map(({ address }) => formatAddress(address)).join(', ');
  return [ok('port', '', `listens at ${bound}`), ...reachable(bound), ...visitors(door, bound)];
}

/** Datagrams come from whoever is near: what can be said is on which networks we hear, and whether anything came. */
function heardChecks({ ways, status, peers }: Door): Check[] {
  const groups = ways.map(({ address }) => formatAddress(address)).join(', ');
  if (status.state !== 'listening') {
    const fix = 'see whether the network interface is up and has an IPv4 address ("ip addr"), or name another one';
    return [warn('interfaces', '', `hears nobody: ${status.detail || status.state}`, fix)];
  }
  const silent = peers.filter(({ connected, received }) => connected && received.events === 0);
  const fix =
    'if phones are there: access points may keep them apart (client isolation) or hold multicast back (IGMP snooping); and they must have mesh networking switched on';
  return [
    ok('port', '', `hears ${groups} on ${status.detail}`),
    ...silent.map(({ name }) => unknown('heard', name, 'nothing was heard there so far', fix)),
    ...foreign(status),
  ];
}

function foreign({ refusals, lastRefusal }: LinkStatus): Check[] {
  const count = Object.values(refusals).reduce((sum, one) => sum + one, 0);
  if (!lastRefusal || count === 0) return [];
  return [
    warn(
      'refused',
      '',
      `${count} refused, the last from ${lastRefusal.address}: ${lastRefusal.words}`,
      lastRefusal.fix,
    ),
  ];
}

function shut({ code, words, fix }: NonNullable<LinkStatus['lastTrouble']>, ways: readonly Way[]): Check {
  if (code !== 'port_in_use') return bad('port', '', words, fix);
  const holders = ways.flatMap(({ address }) => holderOf(address.port) ?? []);
  const who = holders.length > 0 ? `: by ${holders.join(', ')}` : '';
  return bad('port', '', `${words}${who}`, 'stop that program, or choose another port for this link');
}

/** Whether it is bound to this computer alone. */
function onlyHere(bound: string): boolean {
  const addresses = bound.split(', ').flatMap((text) => parseAddress(text) ?? []);
  return addresses.length > 0 && addresses.every(({ host }) => isLoopback(host));
}

function reachable(bound: string): Check[] {
  if (!onlyHere(bound)) return [];
  const fix = 'fine for programs on this box; for others give the port alone, without an address';
  return [ok('reach', '', `only this computer can connect to it. ${fix}`)];
}

function visitors({ status, peers, departed, hosts, clock }: Door, bound: string): Check[] {
  const { refusals, lastRefusal } = status;
  const connected = peers.filter((peer) => peer.connected).length;
  const turnedAway = Object.values(refusals).reduce((sum, count) => sum + count, 0);
  if (lastRefusal) {
    const agoMs = clock.wallMs() - lastRefusal.atMs;
    const words = `${turnedAway} ${turnedAway === 1 ? 'connection was' : 'connections were'} refused, the last ${span(agoMs)} ago from ${lastRefusal.address || 'an unknown address'}: ${lastRefusal.words}`;
    if (connected === 0) return [bad('refused', '', words, lastRefusal.fix)];
    return [agoMs < RECENT_MS ? warn('refused', '', words, lastRefusal.fix) : ok('refused', '', words)];
  }
  if (connected > 0) return [ok('visitors', '', `${connected} connected`)];
  const known = peers.length + departed.reduce((sum, one) => sum + one.peers, 0);
  if (known > 0) return [ok('visitors', '', 'nobody is connected now; there were some before')];
  const reach = hosts.filter((host) => host !== 'localhost' && !isLoopback(host)).slice(0, 6);
  const words = `it listens at ${bound}, and nobody has tried to connect since it did (${span(clock.wallMs() - status.sinceMs)})`;
  if (onlyHere(bound)) {
    const fix = 'only this computer can: for others give the port alone, without an address';
    return [unknown('visitors', '', words, fix)];
  }
  const fix = `if somebody should: check over there that they dial ${reach.join(' or ')}, and that no firewall stops them; from outside this network the router must forward the port, or use a portal link through a hub`;
  return [unknown('visitors', '', words, fix)];
}
