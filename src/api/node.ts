// The API's routes to other relays: `/api/node`, `/api/units`, `/api/fleet`, `/api/probe`. Looking at this relay's own peers is
// for viewers; asking a peer to change something is for operators.
import * as z from 'zod';
import { METHODS } from '../config/resources.ts';
import { type Fleet, listUnits, MAX_UNITS, type NodeStatus } from '../core/fleet.ts';
import type { Hub } from '../core/hub.ts';
import type { NodeResponse } from '../core/node.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { CALL_TIMEOUT_MS, callWithin, MAX_BODY_BYTES, requestHeaders } from './exchange.ts';
import { type FleetCall, type FleetDeps, fleet } from './fleet.ts';
import type { Nodes } from './nodes.ts';
import { type ProberDeps, probe } from './probe.ts';
import { Refusal } from './refusal.ts';
import { type Call, type Caller, Reply, type Route, route } from './route.ts';

const MAX_PROBE_BYTES = 4096;
const peerName = z.string().min(1).max(256);
const probeBody = z.strictObject({ peer: peerName, endToEnd: z.boolean().default(false) });

/** What is no number, or more than there may be, means the most. */
const limit = z
  .string()
  .default('')
  .transform((text) => (/^\d{1,9}$/.test(text) ? Math.min(Number(text), MAX_UNITS) : MAX_UNITS));
const unitsQuery = z.object({ q: z.string().default('').describe('Part of callsign or uid.'), limit });
export const fleetQuery = z.object({
  q: z.string().default(''),
  peer: z.string().default('').describe('Only behind this peer.'),
});

export interface NodeApiDeps extends FleetDeps, ProberDeps {
  readonly hub: Hub;
  readonly nodes: Nodes;
  readonly clock: Clock;
  readonly log: Log;
  /** A request went to a peer, for the audit. */
  onPeerCalled?(call: PeerCalled): void;
}

export interface PeerCalled {
  readonly who: string;
  readonly address: string;
  readonly peer: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

export function nodeRoutes(deps: NodeApiDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/node',
      role: 'viewer',
      tag: 'Other relays',
      summary: 'Peers that can be asked: name, host, port, via, status, latency, messages',
      answer: z.looseObject({ name: z.string(), id: z.string(), peers: z.array(z.looseObject({ name: z.string() })) }),
      handle: () => nodeStatus(deps),
    }),
    ...METHODS.map((method) => peerRoute(deps, method)),
    route({
      method: 'GET',
      path: '/api/units',
      role: 'viewer',
      tag: 'Status',
      summary: 'Units heard, newest first',
      query: unitsQuery,
      answer: z.looseObject({ total: z.int(), units: z.array(z.looseObject({ uid: z.string() })) }),
      handle: ({ query }) => {
        const now = { nowMs: deps.clock.nowMs(), wallMs: deps.clock.wallMs() };
        return listUnits(deps.hub, { search: query.q, limit: query.limit, may: () => true }, now);
      },
    }),
    route({
      method: 'GET',
      path: '/api/fleet',
      role: 'viewer',
      tag: 'Other relays',
      summary: 'Units and relays of all peers and our own; who could not be asked',
      query: fleetQuery,
      answer: z.looseObject({}),
      handle: ({ query, signal, caller }) => askFleet(deps, query, caller, signal),
    }),
    route({
      method: 'POST',
      path: '/api/probe',
      role: 'operator',
      tag: 'Other relays',
      summary: 'Sends a marked event to a peer and asks it about every filter',
      body: probeBody,
      maxBodyBytes: MAX_PROBE_BYTES,
      answer: z.looseObject({}),
      handle: (call) => runProbe(deps, call),
    }),
  ];
}

export type AskedFleetDeps = FleetDeps & Pick<NodeApiDeps, 'onPeerCalled'>;

/** In the audit with whoever asked. Resolves always. */
export function askFleet(
  deps: AskedFleetDeps,
  { peer, q }: z.output<typeof fleetQuery>,
  { name: who, address }: Caller,
  signal: AbortSignal,
): Promise<Fleet> {
  const onCalled = (call: FleetCall) => deps.onPeerCalled?.({ who, address, ...call });
  return fleet({ ...deps, onCalled }, { peer: peer || undefined, search: q }, signal);
}

function nodeStatus({ snapshot, nodes }: NodeApiDeps): NodeStatus {
  const { name, id } = snapshot();
  return { name, id, peers: nodes.peers() };
}

/** `/api/node/PEER/...` is `/...` on PEER. */
function peerRoute(deps: NodeApiDeps, method: (typeof METHODS)[number]): Route {
  return route({
    method,
    path: '/api/node/{peer}/{path+}',
    role: method === 'GET' ? 'viewer' : 'operator',
    tag: 'Other relays',
    summary: `${method} a path on a peer`,
    params: z.object({ peer: z.string() }),
    query: z.looseObject({}),
    body: z.any(),
    bodyKind: 'bytes',
    maxBodyBytes: MAX_BODY_BYTES,
    gives: '*/*',
    handle: (call) => callPeer(deps, method, call),
  });
}

async function callPeer(
  { nodes, clock, log, onPeerCalled }: NodeApiDeps,
  method: string,
  { params, rest, rawQuery, request, body, caller, signal }: Call<{ peer: string }, unknown, Buffer>,
): Promise<Reply> {
  const { peer } = params;
  const path = `/${rest}`;
  const answer = await callWithin(
    nodes,
    peer,
    { method, path: `${path}${rawQuery}`, headers: requestHeaders(request.headers), body, hops: 0 },
    { ms: CALL_TIMEOUT_MS, clock, signal },
  );
  const line = { peer, method, path, status: answer.status };
  log[method === 'GET' ? 'debug' : 'info'](line, 'asked a peer');
  onPeerCalled?.({ who: caller.name, address: caller.address, ...line });
  return told(answer);
}

async function runProbe(
  deps: NodeApiDeps,
  { body, caller, signal }: Call<unknown, unknown, z.output<typeof probeBody>>,
): Promise<unknown> {
  const report = await probe(deps, { name: body.peer, endToEnd: body.endToEnd }, signal);
  if (!report) throw new Refusal(404, 'unknown_peer', `no peer is called ${JSON.stringify(body.peer.slice(0, 64))}`);
  const { name: who, address } = caller;
  deps.onPeerCalled?.({ who, address, peer: body.peer, method: 'CALL', path: '/probe', status: 200 });
  return report;
}

/** A peer's answer. Whatever it is, to a browser it is a document of nobody that may run and load nothing. */
function told({ status, headers, body }: NodeResponse): Reply {
  const type = headers['content-type'] ?? 'application/octet-stream';
  const policy = "default-src 'none'; sandbox";
  return new Reply(status, body, { ...headers, 'content-type': type, 'content-security-policy': policy }, 'raw');
}
