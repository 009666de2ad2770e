// Units and relays of all peers and our own in one list. Each peer is asked for its part and answers what it likes, so
// every part is checked; one that cannot be reached is a badge, never a failed list.
import * as z from 'zod';
import {
  type Fleet,
  type FleetPeer,
  type FleetRelay,
  type FleetUnit,
  listUnits,
  MAX_UNITS,
  relaySummary,
  type Unit,
} from '../core/fleet.ts';
import type { Hub } from '../core/hub.ts';
import type { NodePeer, NodeRequest, NodeResponse } from '../core/node.ts';
import type { RelayStatus } from '../core/status.ts';
import type { Clock } from '../lib/clock.ts';
import { callWithin } from './exchange.ts';
import type { Nodes } from './nodes.ts';
import { parseJson } from './probe-desk.ts';

/** A peer that has not answered by then is shown as unreachable. */
const PEER_TIMEOUT_MS = 4_000;
const MAX_SEARCH = 128;
const MAX_LINKS = 64;
const MAX_WORDS = 256;

const text = z.string().max(128);
const unitAnswer: z.ZodType<Unit> = z.object({
  uid: text,
  callsign: text,
  type: text,
  team: text,
  lat: z.number(),
  lon: z.number(),
  ageMs: z.number(),
  from: text,
  direct: z.boolean(),
});
const unitsAnswer = z.object({ total: z.int().min(0), units: z.array(unitAnswer).max(MAX_UNITS) });
const statusAnswer = z.object({
  name: text,
  id: text,
  version: text,
  startedAt: text,
  units: z.int().min(0),
  links: z.array(z.object({ name: text, kind: text, state: text })).max(MAX_LINKS),
});

export interface FleetDeps {
  readonly hub: Hub;
  readonly nodes: Nodes;
  readonly clock: Clock;
  snapshot(): RelayStatus;
  /** A peer was asked, for the audit. */
  onCalled?(call: FleetCall): void;
}

export interface FleetCall {
  readonly peer: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

export interface FleetQuery {
  /** Only what stands behind this peer; undefined: everything, ours included. */
  readonly peer: string | undefined;
  /** See UnitQuery. */
  readonly search: string;
}

/** What one source has told. */
interface Part {
  readonly peer: string | null;
  /** Asked over a connection of its own. */
  readonly partner: boolean;
  readonly status: Omit<FleetRelay, 'peer'>;
  readonly total: number;
  readonly units: readonly Unit[];
}

/** Resolves always. */
export async function fleet(deps: FleetDeps, query: FleetQuery, signal: AbortSignal): Promise<Fleet> {
  const search = query.search.slice(0, MAX_SEARCH);
  const asked = askable(deps.nodes).filter(({ name }) => query.peer === undefined || name === query.peer);
  const parts = await Promise.all(asked.map((peer) => partOf(deps, peer, search, signal)));
  const told = parts.filter((part) => typeof part !== 'string');
  const seconds = new Map(told.flatMap((part) => secondOf(part, told)));
  const all = query.peer === undefined ? [ownPart(deps, search), ...told] : told;
  const firsts = all.filter((part) => !seconds.has(part));
  return {
    peers: asked.map((peer, index) => badge(deps.nodes.find(peer.name)?.peer ?? peer, parts[index]!, seconds)),
    relays: firsts.map(relayOf).filter((relay) => matches(relay, search)),
    leftOut: firsts.reduce((sum, part) => sum + leftOutOf(part, seconds), 0),
    units: unitsOf([...firsts, ...seconds.keys()]),
  };
}

/** Of those with one name the one that is asked by it. */
function askable(nodes: Nodes): NodePeer[] {
  const names = new Set(nodes.peers().map(({ name }) => name));
  return [...names].flatMap((name) => nodes.find(name)?.peer ?? []);
}

/**
 * A partner that is a peer of a link, too, is one box: there by its name as a peer. A box says itself who it is, so this is believed of
 * no two peers of links: none of them can put itself in the place of another.
 */
function secondOf(part: Part, told: readonly Part[]): [second: Part, first: Part][] {
  const first = part.partner && told.find(({ partner, status }) => !partner && status.id === part.status.id);
  return first ? [[part, first]] : [];
}

/** Told by either of two ways is told. */
function leftOutOf(part: Part, seconds: ReadonlyMap<Part, Part>): number {
  const ways = [part, ...[...seconds].flatMap(([second, first]) => (first === part ? [second] : []))];
  return Math.max(0, ...ways.map(({ total, units }) => total - units.length));
}

function ownPart({ hub, clock, snapshot }: FleetDeps, search: string): Part {
  const now = { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
  const units = listUnits(hub, { search, limit: MAX_UNITS, may: () => true }, now);
  return { peer: null, partner: false, status: relaySummary(snapshot()), ...units };
}

/** A text: why it has none. */
async function partOf(
  deps: FleetDeps,
  { name, status, onDemand = false }: NodePeer,
  search: string,
  signal: AbortSignal,
): Promise<Part | string> {
  if (status !== 'connected' && !onDemand) return 'not connected';
  const get = (path: string) => ask(deps, name, path, signal);
  const [about, units] = await Promise.all([get('/status'), get(`/units?q=${encodeURIComponent(search)}`)]);
  const told = read(about, statusAnswer);
  const list = read(units, unitsAnswer);
  if (typeof told === 'string') return told;
  if (typeof list === 'string') return list;
  return { peer: name, partner: onDemand, status: told, ...list };
}

async function ask(deps: FleetDeps, peer: string, path: string, signal: AbortSignal): Promise<NodeResponse> {
  const patience = { ms: PEER_TIMEOUT_MS, clock: deps.clock, signal };
  const answer = await callWithin(deps.nodes, peer, getRequest(path), patience);
  deps.onCalled?.({ peer, method: 'GET', path, status: answer.status });
  return answer;
}

function getRequest(path: string): NodeRequest {
  return { method: 'GET', path, headers: { accept: 'application/json' }, body: Buffer.alloc(0), hops: 0 };
}

/** A text: why not. */
function read<T>({ status, body, answered }: NodeResponse, schema: z.ZodType<T>): T | string {
  if (status === 504 && !answered) return 'does not answer';
  if (status === 502 && !answered) return whyNot(body) ?? `answers ${status}`;
  if (status !== 200) return `answers ${status}`;
  const parsed = schema.safeParse(parseJson(body));
  return parsed.success ? parsed.data : 'answers what cannot be read';
}

/** In the words of whatever carries the request. */
function whyNot(body: Buffer): string | undefined {
  const problem = z.object({ detail: z.string() }).safeParse(parseJson(body));
  return problem.data?.detail.slice(0, MAX_WORDS);
}

function badge({ name, lastContactMs }: NodePeer, part: Part | string, seconds: ReadonlyMap<Part, Part>): FleetPeer {
  const lastContact = lastContactMs === null ? null : new Date(lastContactMs).toISOString();
  if (typeof part === 'string') return { name, reachable: false, lastContact, words: part };
  const first = seconds.get(part)?.peer;
  return { name, reachable: true, lastContact, words: first ? `the same box as ${first}` : '' };
}

function relayOf({ peer, status }: Part): FleetRelay {
  const { name, id, version, startedAt, units, links } = status;
  const shown = links.map((link) => ({ name: link.name, kind: link.kind, state: link.state }));
  return { id: idAt(peer, id), peer, name, version, startedAt, units, links: shown };
}

function matches({ id, name }: FleetRelay, search: string): boolean {
  const wanted = search.toLowerCase();
  return `${id} ${name}`.toLowerCase().includes(wanted);
}

/** Every unit once: where it is at home, else where it was found first. */
function unitsOf(parts: readonly Part[]): FleetUnit[] {
  const found = new Map<string, FleetUnit>();
  for (const { peer, units } of parts) {
    for (const unit of units) {
      const before = found.get(unit.uid);
      if (!before || (unit.direct && !before.direct)) found.set(unit.uid, { ...unit, id: idAt(peer, unit.uid), peer });
    }
  }
  return [...found.values()];
}

function idAt(peer: string | null, id: string): string {
  return peer === null ? id : `peer:${peer}/${id}`;
}
