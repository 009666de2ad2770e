// `waystation probe`: asks every filter, measures clock and round trip, sends a marked event the way events go and has the
// other side say whether it came out. "Connected is not flowing" becomes a fact.
import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import type { Hub } from '../core/hub.ts';
import type { CotEvent, Wire } from '../core/message.ts';
import type { NodeRequest, NodeResponse } from '../core/node.ts';
import type { Peer } from '../core/peer.ts';
import { type Filter, offerProbe, type ProbeReport, probeEvent } from '../core/probe.ts';
import { callWithin } from './exchange.ts';
import { ARRIVAL_WAIT_MS, DELIVERY_WAIT_MS, MAX_FILTERS, parseJson } from './probe-desk.ts';
import { type Facts, type Reached, type ReportDeps, report, type Sent } from './probe-report.ts';
import { peerOf } from './resources.ts';

/** Announced this often: the shortest round trip is the truest. */
const ROUNDS = 3;
const ANNOUNCE_TIMEOUT_MS = 10_000;
const WAIT_TIMEOUT_MS = ARRIVAL_WAIT_MS + DELIVERY_WAIT_MS + 5_000;
const MAX_TEXT = 512;

const text = z.string().max(MAX_TEXT);
const announced = z.object({
  now: z.number(),
  clients: z.int().min(0),
  filters: z.array(z.object({ link: text, rule: text, stops: z.array(text).max(16), words: text })).max(MAX_FILTERS),
});
const waited = z.object({
  arrivedMs: z.number().nullable(),
  delivery: z.object({ clients: z.int().min(1), ms: z.number().min(0) }).nullable(),
});

export interface ProberDeps extends ReportDeps {
  /** The event as bytes. */
  encode(event: CotEvent): Wire;
}

/** Probes the peer called `name`; any peer of the hub has at least its filters asked. Undefined: there is no such peer. */
export async function probe(
  deps: ProberDeps,
  { name, endToEnd }: { readonly name: string; readonly endToEnd: boolean },
  signal: AbortSignal,
): Promise<ProbeReport | undefined> {
  const found = deps.nodes.find(name);
  const peer = found ? peerOf(deps.hub, found.link, name) : hubPeer(deps.hub, name);
  if (!found && !peer) return undefined;
  const facts: Facts = { name, peer, endToEnd };
  if (!found) return report(deps, { ...facts, stopped: `${name} speaks a protocol that cannot answer a probe` });
  if (!peer?.session) return report(deps, { ...facts, stopped: away(name, peer) });
  const id = randomBytes(16).toString('hex');
  const reached = await announce(deps, { name, id, endToEnd }, signal);
  if (typeof reached === 'string') return report(deps, { ...facts, stopped: reached });
  const sent = await send(deps, { name, id, peer }, signal);
  if (typeof sent === 'string') return report(deps, { ...facts, reached, stopped: sent });
  return report(deps, { ...facts, reached, sent });
}

function hubPeer(hub: Hub, name: string): Peer | undefined {
  return hub.peers().find(({ spec }) => spec.key === name) ?? hub.peers().find(({ spec }) => spec.name === name);
}

function away(name: string, peer: Peer | undefined): string {
  if (!peer) return `no events go to ${name} from here`;
  return `${name} is not connected: ${peer.trouble?.words ?? peer.lastClose?.words ?? 'it never was'}`;
}

/** The shortest of some round trips; a text: why there was none. */
async function announce(
  deps: ProberDeps,
  { name, id, endToEnd }: { readonly name: string; readonly id: string; readonly endToEnd: boolean },
  signal: AbortSignal,
): Promise<Reached | string> {
  const { clock } = deps;
  let best: Reached | undefined;
  for (let round = 0; round < ROUNDS; round++) {
    const [startMs, startWallMs] = [clock.nowMs(), clock.wallMs()];
    const answer = await ask(deps, name, '/probe', { id, endToEnd }, ANNOUNCE_TIMEOUT_MS, signal);
    const rttMs = clock.nowMs() - startMs;
    const parsed = answer.status === 200 ? announced.safeParse(parseJson(answer.body)) : undefined;
    if (!parsed?.success) return unanswered(name, answer);
    const { now, clients, filters } = parsed.data;
    if (best && best.rttMs <= rttMs) continue;
    const there = filters.map((filter): Filter => ({ ...filter, at: 'there' }));
    best = { rttMs, offsetMs: now - (startWallMs + rttMs / 2), clients, filters: there };
  }
  return best!;
}

async function send(
  deps: ProberDeps,
  { name, id, peer }: { readonly name: string; readonly id: string; readonly peer: Peer },
  signal: AbortSignal,
): Promise<Sent | string> {
  const sentMs = deps.clock.wallMs();
  const event = probeEvent(id, sentMs);
  const offered = offerProbe(peer, event, deps.encode(event), deps.clock);
  if (offered !== 'sent' && offered !== 'waiting') {
    return { offered, sentMs, arrivedMs: null, delivery: null };
  }
  const answer = await ask(deps, name, `/probe/${id}`, {}, WAIT_TIMEOUT_MS, signal);
  const parsed = answer.status === 200 ? waited.safeParse(parseJson(answer.body)) : undefined;
  return parsed?.success ? { offered, sentMs, ...parsed.data } : unanswered(name, answer);
}

function ask(
  { nodes, clock }: ProberDeps,
  name: string,
  path: string,
  body: unknown,
  ms: number,
  signal: AbortSignal,
): Promise<NodeResponse> {
  const request: NodeRequest = {
    method: 'CALL',
    path,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(body)),
    hops: 0,
  };
  return callWithin(nodes, name, request, { ms, clock, signal });
}

function unanswered(name: string, { status, body }: NodeResponse): string {
  if (status === 404 || status === 405) return `${name} is connected, but does not know how to answer a probe`;
  const said = z.object({ detail: text }).safeParse(parseJson(body));
  return `${name} did not answer the probe (${status})${said.success ? `: ${said.data.detail}` : ''}`;
}
