// What a probe found, told: the hops with their latency, every filter, and the verdict in sentences.
import type { Hub } from '../core/hub.ts';
import type { Peer } from '../core/peer.ts';
import { FUTURE_LIMIT_MS, STALE_GRACE_MS } from '../core/policy.ts';
import {
  type Filter,
  filtersIn,
  filtersOut,
  type Offered,
  PROBE_LIFE_MS,
  type ProbeHop,
  type ProbeReport,
} from '../core/probe.ts';
import { DROP_WORDS } from '../core/reason.ts';
import type { Clock } from '../lib/clock.ts';
import type { Nodes } from './nodes.ts';
import { ARRIVAL_WAIT_MS, DELIVERY_WAIT_MS } from './probe-desk.ts';

/** A clock that is wrong by more is worth a sentence. */
const CLOCK_WORDS_MS = 1_000;

export interface ReportDeps {
  /** What this relay is called. */
  name(): string;
  readonly hub: Hub;
  readonly nodes: Nodes;
  readonly clock: Clock;
}

/** What the other side said, and how long it took. */
export interface Reached {
  readonly rttMs: number;
  readonly offsetMs: number;
  readonly clients: number;
  readonly filters: readonly Filter[];
}

/** The marked event's way: what became of it here, and what the other side saw. */
export interface Sent {
  readonly offered: Offered;
  readonly sentMs: number;
  readonly arrivedMs: number | null;
  readonly delivery: { readonly clients: number; readonly ms: number } | null;
}

export interface Facts {
  readonly name: string;
  readonly peer: Peer | undefined;
  readonly endToEnd: boolean;
  readonly reached?: Reached;
  readonly sent?: Sent;
  /** Why it went no further. */
  readonly stopped?: string;
}

/** The facts as `waystation probe` tells them. */
export function report(deps: ReportDeps, facts: Facts): ProbeReport {
  const { name, peer, endToEnd, reached, sent } = facts;
  const found = deps.nodes.find(name)?.peer;
  const filters = [...filtersHere(deps, peer), ...(reached?.filters ?? []), ...clockFilters(name, reached)];
  return {
    peer: name,
    connected: peer?.session !== undefined,
    via: found?.via ?? '',
    arrived: sent?.arrivedMs != null,
    delivered: endToEnd ? sent?.delivery != null : null,
    rttMs: reached ? tenth(reached.rttMs) : null,
    clockOffsetMs: reached ? Math.round(reached.offsetMs) : null,
    hops: hopsOf(deps, facts),
    filters,
    words: [...verdict(facts), ...endToEndWords(facts), ...filterWords(filters)],
  };
}

/** The way from every other link to the peer's. */
function filtersHere({ hub, clock }: ReportDeps, target: Peer | undefined): Filter[] {
  if (!target) return [];
  const sources = hub.peers().filter((peer) => peer !== target);
  const found = sources.flatMap((peer) => filtersIn(peer, 'here', clock, target));
  const unique = new Map(found.map((filter) => [`${filter.link} ${filter.words}`, filter]));
  return [...unique.values(), ...filtersOut(target, 'here', clock)];
}

/** A clock that is too far off stops everything by the events' own times. */
function clockFilters(name: string, reached: Reached | undefined): Filter[] {
  if (!reached) return [];
  const { offsetMs } = reached;
  if (offsetMs <= STALE_GRACE_MS + PROBE_LIFE_MS && offsetMs >= -FUTURE_LIMIT_MS) return [];
  const words = `its clock is ${seconds(offsetMs)}: what is said here is too old or too new there`;
  return [{ at: 'there', link: name, rule: 'clock', stops: ['friendly unit'], words }];
}

function verdict({ name, reached, sent, stopped }: Facts): string[] {
  if (stopped) return [stopped];
  if (!sent || !reached) return [];
  if (sent.arrivedMs !== null) return [`events flow: a marked event came out at ${name}`, ...clockWords(reached)];
  if (sent.offered === 'sent' || sent.offered === 'waiting') {
    const where = sent.offered === 'sent' ? 'it left here' : 'it still waits here behind others';
    const words = `connected is not flowing: ${where}, and did not come out at ${name} in ${ARRIVAL_WAIT_MS / 1000} s`;
    return [words, ...clockWords(reached)];
  }
  return [`connected is not flowing: the marked event was stopped here: ${DROP_WORDS[sent.offered]}`];
}

function clockWords({ offsetMs }: Reached): string[] {
  return Math.abs(offsetMs) < CLOCK_WORDS_MS ? [] : [`its clock is ${seconds(offsetMs)}`];
}

function endToEndWords({ name, endToEnd, reached, sent }: Facts): string[] {
  if (!endToEnd || !reached || sent?.arrivedMs == null) return [];
  if (sent.delivery) {
    const { clients, ms } = sent.delivery;
    return [
      `an event from here was handed to ${clients} of ${reached.clients} clients there, ${tenth(ms)} ms after it came in`,
    ];
  }
  if (reached.clients === 0) return [`no client is connected at ${name}: that events reach one cannot be shown`];
  return [
    `no event from here was handed to any of the ${reached.clients} clients there in ${DELIVERY_WAIT_MS / 1000} s; ` +
      'clients are never sent the marked event, so it takes a real one: let something here report itself meanwhile',
  ];
}

function filterWords(filters: readonly Filter[]): string[] {
  if (filters.length === 0) return ['no filter stops units, chat, markers or alerts'];
  return [
    `${filters.length} ${filters.length === 1 ? 'rule stops' : 'rules stop'} some of units, chat, markers, alerts`,
  ];
}

/** From us to the peer, by way of the hub in between where there is one. */
function hopsOf({ name: ours, nodes }: ReportDeps, { name, reached, sent }: Facts): ProbeHop[] {
  if (!reached || sent?.arrivedMs == null) return [];
  const whole = Math.max(0, sent.arrivedMs - sent.sentMs - reached.offsetMs);
  const words = `by the marked event and both clocks, to ${tenth(Math.max(1, reached.rttMs / 2))} ms`;
  const via = nodes.find(name)?.peer.via ?? '';
  const toHub = nodes.find(via)?.peer.latencyMs;
  const last = sent.delivery
    ? [{ from: name, to: 'its clients', ms: tenth(sent.delivery.ms), words: 'by a real event, there' }]
    : [];
  if (toHub == null) return [{ from: ours(), to: name, ms: tenth(whole), words }, ...last];
  const first = Math.min(whole, toHub / 2);
  return [
    { from: ours(), to: via, ms: tenth(first), words: 'half the round trip to it' },
    { from: via, to: name, ms: tenth(whole - first), words: `the rest, ${words}` },
    ...last,
  ];
}

function tenth(ms: number): number {
  return Math.round(ms * 10) / 10;
}

function seconds(offsetMs: number): string {
  return `${Math.abs(offsetMs / 1000).toFixed(1)} s ${offsetMs < 0 ? 'behind ours' : 'ahead of ours'}`;
}
