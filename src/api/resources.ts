// The relay's answers to its peers: a closed list to read, local services that the configuration maps, and peers behind this
// relay where it may pass requests on. Nothing else has a path.
import { PASSING, READABLE, type ResourceEntry } from '../config/resources.ts';
import { listUnits, MAX_UNITS, relayLinks, relayPeers, relaySummary } from '../core/fleet.ts';
import type { Hub } from '../core/hub.ts';
import {
  type Caller,
  jsonResponse,
  type NodeRequest,
  type NodeResponse,
  type NodeService,
  problemResponse,
  type Resources,
} from '../core/node.ts';
import type { Peer } from '../core/peer.ts';
import { mayHop, type Policy, permit } from '../core/policy.ts';
import type { RelayStatus, Totals } from '../core/status.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { parseTarget, TARGET_WORDS, type Target } from '../lib/target.ts';
import {
  CALL_TIMEOUT_MS,
  callWithin,
  FROM_HEADER,
  MAX_BODY_BYTES,
  MAX_HOPS,
  PASSED_HEADER,
  requestHeaders,
} from './exchange.ts';
import { askService } from './local-service.ts';

/** Longest list of relays a request says it has passed. */
const MAX_TRAIL = 512;

export interface ResourceDeps {
  /** Our own id: a request that has passed it goes in a circle. */
  readonly nodeId: string;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly log: Log;
  /** The peers a request may be passed on to. */
  readonly nodes: NodeService;
  /** As the configuration is now. */
  entries(): readonly ResourceEntry[];
  snapshot(): RelayStatus;
  /** Answers `CALL /probe` and what is below it. */
  probe(request: NodeRequest, target: Target, caller: Caller, signal: AbortSignal): Promise<NodeResponse>;
  /** Answers `GET /files/HASH`: part of a file that was announced to whoever asks. */
  file?(hash: string, asked: FileAsked): Promise<NodeResponse>;
  /** What a caller that is no peer of the hub may know; undefined: it is one, or may know nothing. */
  policyOf?(caller: Caller): Policy | undefined;
  /** A peer's request was answered, for the audit. Must not throw. */
  onRequest?(request: RemoteRequest): void;
}

export interface FileAsked {
  readonly query: URLSearchParams;
  readonly caller: Caller;
  /** Ids of the relays it has passed. */
  readonly passed: readonly string[];
  readonly signal: AbortSignal;
}

export interface RemoteRequest {
  readonly peer: string;
  readonly link: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
}

/** One request on its way through here. */
interface Asked {
  readonly request: NodeRequest;
  readonly target: Target;
  readonly caller: Caller;
  /** Who asks, as the configuration names them: the caller, or `caller/NAME` when it passed on what NAME asked. */
  readonly origin: string;
  readonly signal: AbortSignal;
}

export function createResources(deps: ResourceDeps): Resources {
  return {
    async handle(request, caller, signal) {
      try {
        return await answer(deps, request, caller, signal);
      } catch (error) {
        deps.log.error({ err: error, peer: caller.name, path: request.path }, 'a fault while answering a peer');
        return problemResponse(500, 'internal_error', 'a fault in this relay; its log has the details');
      }
    },
  };
}

async function answer(
  deps: ResourceDeps,
  request: NodeRequest,
  caller: Caller,
  signal: AbortSignal,
): Promise<NodeResponse> {
  const target = parseTarget(request.path);
  if (!target) return problemResponse(400, 'bad_path', TARGET_WORDS);
  if (request.body.length > MAX_BODY_BYTES) {
    return problemResponse(413, 'body_too_large', `a body may have ${MAX_BODY_BYTES >> 20} MiB`);
  }
  const from = request.headers[FROM_HEADER] ?? '';
  if (from.length > MAX_TRAIL) return problemResponse(508, 'too_many_hops', HOPS_WORDS);
  if (passedBy(request).includes(deps.nodeId)) {
    return problemResponse(508, 'loop', 'this request has passed here before: it goes in a circle');
  }
  const asked: Asked = { request, target, caller, origin: from ? `${caller.name}/${from}` : caller.name, signal };
  const response = await route(deps, asked);
  const line = { peer: asked.origin, method: request.method, path: target.path, status: response.status };
  const changes = request.method !== 'GET' && request.method !== 'CALL';
  deps.log[changes ? 'info' : 'debug'](line, 'a peer asked');
  // Pieces of a file are many; who fetched it is in the log.
  if (target.segments[0] !== 'files') deps.onRequest?.({ ...line, link: caller.link });
  return response;
}

function route(deps: ResourceDeps, asked: Asked): NodeResponse | Promise<NodeResponse> {
  const { request, target, caller, signal } = asked;
  const [first] = target.segments;
  if (request.method === 'CALL') {
    return first === 'probe' ? deps.probe(request, target, caller, signal) : nothingHere();
  }
  if (first === undefined) return read(asked, () => overview(deps, asked));
  if (first === 'node') return passOn(deps, asked);
  if (first === 'files' && deps.file) return fileFor(deps.file, asked);
  // As it came, not decoded: so is what entries say, and the two must never mean different paths.
  const own = READABLE.find((path) => target.path === path || target.path === `${path}/`);
  const entry = entryFor(deps.entries(), target);
  if (own) {
    if (entry && !isFor(entry, asked.origin)) return notForYou(entry, asked.origin);
    return read(asked, () => ownAnswer(deps, asked, own));
  }
  if (!entry?.to) return nothingHere();
  if (!isFor(entry, asked.origin)) return notForYou(entry, asked.origin);
  if (!entry.methods.includes(request.method)) return notThatWay(entry.methods);
  const rest = target.path.slice(entry.path.length);
  return askService(entry.to, { ...request, rest, query: target.query }, { clock: deps.clock, signal });
}

function fileFor(
  file: NonNullable<ResourceDeps['file']>,
  { request, target, caller, signal }: Asked,
): NodeResponse | Promise<NodeResponse> {
  const [, hash = '', ...more] = target.segments;
  if (more.length > 0 || !/^[0-9a-f]{64}$/.test(hash)) return nothingHere();
  if (request.method !== 'GET') return notThatWay(['GET']);
  return file(hash, { query: new URLSearchParams(target.query), caller, passed: passedBy(request), signal });
}

/** The entry with the longest path that the target lies at or under. Paths of entries need no decoding. */
function entryFor(entries: readonly ResourceEntry[], { path }: Target): ResourceEntry | undefined {
  const fitting = entries.filter((entry) => path === entry.path || path.startsWith(`${entry.path}/`));
  return fitting.sort((a, b) => b.path.length - a.path.length)[0];
}

/** `*` is every peer that asks for itself; what is asked through a peer must be named. */
function isFor({ peers }: ResourceEntry, origin: string): boolean {
  return peers.includes(origin) || (peers.includes('*') && !origin.includes('/'));
}

function read({ request }: Asked, make: () => unknown): NodeResponse {
  return request.method === 'GET' ? jsonResponse(200, make()) : notThatWay(['GET']);
}

function overview({ entries, nodes, snapshot }: ResourceDeps, { origin }: Asked): unknown {
  const list = entries();
  const open = (path: string) => list.every((entry) => entry.path !== path || isFor(entry, origin));
  const mapped = list.filter((entry) => entry.to && isFor(entry, origin));
  const passed = nodes.peers().filter(({ name }) => passingEntry(list, name, origin) !== undefined);
  const { name, id } = snapshot();
  return {
    name,
    id,
    resources: [
      ...READABLE.filter(open).map((path) => ({ path, methods: ['GET'] })),
      ...mapped.map(({ path, methods }) => ({ path, methods })),
      ...passed.map((peer) => ({
        path: `${PASSING}/${peer.name}`,
        methods: passingEntry(list, peer.name, origin)!.methods,
      })),
    ],
  };
}

function ownAnswer(deps: ResourceDeps, { caller, target }: Asked, path: (typeof READABLE)[number]): unknown {
  const status = inNetworkOf(deps.hub, peerOf(deps.hub, caller.link, caller.name), deps.snapshot());
  const { name, version, now, uptimeMs } = status;
  switch (path) {
    case '/health':
      return { status: 'ok', name, version, now, uptimeMs };
    case '/status':
      return relaySummary(status);
    case '/peers':
      return relayPeers(status);
    case '/links':
      return { links: relayLinks(status) };
    case '/units':
      return unitsFor(deps, caller, new URLSearchParams(target.query));
  }
}

/** Without what is in other networks of this box: peers, links, sums; units and contacts as far as they cross. */
function inNetworkOf({ picture }: Hub, caller: Peer | undefined, status: RelayStatus): RelayStatus {
  const border = caller?.policy.border;
  if (!border) return status;
  const own = status.byNetwork?.find(({ name }) => name === border.network);
  const { roster } = picture;
  return {
    ...status,
    links: status.links.filter(({ name }) => own?.links.includes(name)),
    peers: status.peers.filter(({ policy }) => policy.border?.network === border.network),
    totals: own?.totals ?? NO_TOTALS,
    units: [...picture.positions()].filter((position) => border.lets(position)).length,
    contacts: roster.uids().filter((uid) => border.lets(roster.entry(uid)!.notice)).length,
  };
}

const NO_TOTALS: Totals = { received: 0, sent: 0, queued: 0, refused: {}, dropped: {} };

/** Units as far as the caller could be sent them as events, and not what it told us itself. */
function unitsFor({ hub, clock, policyOf }: ResourceDeps, caller: Caller, query: URLSearchParams): unknown {
  const peer = peerOf(hub, caller.link, caller.name);
  const policy = peer?.policy ?? policyOf?.(caller);
  const now = { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
  return listUnits(
    hub,
    {
      search: query.get('q') ?? '',
      limit: limitOf(query),
      may: (envelope) =>
        policy !== undefined && envelope.from !== peer?.spec.key && mayHop(envelope) && !permit(envelope, policy),
    },
    now,
  );
}

/** `limit=` of a query; most when it is missing or no number. */
export function limitOf(query: URLSearchParams): number {
  const limit = Number(query.get('limit') ?? MAX_UNITS);
  return Number.isInteger(limit) && limit >= 0 ? Math.min(limit, MAX_UNITS) : MAX_UNITS;
}

/** What the hub knows of a peer that asks, or is asked. */
export function peerOf(hub: Pick<Hub, 'peers'>, link: string, name: string): Peer | undefined {
  return hub.peers().find(({ spec }) => spec.link === link && spec.name === name);
}

// --- passing on ------------------------------------------------------------------------------------------------------

/** The entry that lets `origin` ask the peer `name` through here. */
function passingEntry(entries: readonly ResourceEntry[], name: string, origin: string): ResourceEntry | undefined {
  const named = entries.find(({ path }) => path === `${PASSING}/${name}`);
  const entry = named ?? entries.find(({ path }) => path === PASSING);
  return entry && isFor(entry, origin) ? entry : undefined;
}

/** Ids of the relays it has passed. */
function passedBy({ headers }: NodeRequest): string[] {
  return (headers[PASSED_HEADER] ?? '').split(',').filter((id) => id !== '');
}

function passOn(deps: ResourceDeps, asked: Asked): NodeResponse | Promise<NodeResponse> {
  const { request, target, origin, signal } = asked;
  const [, next] = target.segments;
  if (next === undefined) return problemResponse(404, 'no_peer_named', 'say which peer: /node/NAME/PATH');
  const passed = passedBy(request);
  if (request.hops > MAX_HOPS || passed.length >= MAX_HOPS) return problemResponse(508, 'too_many_hops', HOPS_WORDS);
  const entry = passingEntry(deps.entries(), next, origin);
  if (!entry) return notPassed(next, origin);
  if (!entry.methods.includes(request.method)) return notThatWay(entry.methods);
  const onward: NodeRequest = {
    ...request,
    path: `/${target.path.split('/').slice(3).join('/')}${target.query}`,
    headers: {
      ...requestHeaders(request.headers),
      [FROM_HEADER]: origin,
      [PASSED_HEADER]: [...passed, deps.nodeId].join(','),
    },
  };
  return callWithin(deps.nodes, next, onward, { ms: CALL_TIMEOUT_MS, clock: deps.clock, signal });
}

// --- refusals --------------------------------------------------------------------------------------------------------

const HOPS_WORDS = `a request may pass ${MAX_HOPS} relays`;

function nothingHere(): NodeResponse {
  return problemResponse(404, 'not_found', 'there is nothing at this path; / lists what there is');
}

function notForYou({ path }: ResourceEntry, origin: string): NodeResponse {
  const words = `${path} is not for ${origin}: the "peers" of its entry under "resources" in this relay's configuration do not name it`;
  return problemResponse(403, 'not_for_you', words);
}

function notPassed(next: string, origin: string): NodeResponse {
  const words = `this relay does not pass requests of ${origin} on to ${next}: an entry with the path ${PASSING} or ${PASSING}/${next} under "resources" in its configuration would let it`;
  return problemResponse(403, 'not_passed_on', words);
}

function notThatWay(methods: readonly string[]): NodeResponse {
  const allow = methods.join(', ');
  const refusal = problemResponse(405, 'method_not_allowed', `only ${allow} is allowed here`);
  return { ...refusal, headers: { ...refusal.headers, allow } };
}
