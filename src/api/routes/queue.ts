// What waits for one peer, by its key or by a name that only one has.
import * as z from 'zod';
import type { Hub } from '../../core/hub.ts';
import type { Peer } from '../../core/peer.ts';
import { queueReport } from '../../core/queue-report.ts';
import type { Clock } from '../../lib/clock.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route } from '../route.ts';

/** Names listed to somebody who asked for another. */
const MAX_NAMES = 20;
const MAX_TEXT = 64;

export interface QueueDeps {
  readonly hub: Pick<Hub, 'peers'>;
  readonly clock: Clock;
}

const report = z
  .looseObject({
    peer: z.string(),
    name: z.string(),
    connected: z.boolean(),
    bytes: z.int(),
    lanes: z.array(z.looseObject({ lane: z.string(), queued: z.int(), waiting: z.array(z.looseObject({})) })),
  })
  .meta({ id: 'Queue' });

export function queueRoutes({ hub, clock }: QueueDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/queue/{peer+}',
      role: 'viewer',
      tag: 'Status',
      summary: 'What waits for a peer, by lane, with ages; PEER is its key, or a name that only one has',
      answer: report,
      handle: ({ rest }) => queueReport(findPeer(hub.peers(), keyIn(rest)), clock),
    }),
  ];
}

/** Keys hold slashes; the router has seen to it that the rest can be decoded. */
function keyIn(rest: string): string {
  return rest.split('/').map(decodeURIComponent).join('/');
}

/** By its key, or by a name that only one has. Throws Refusal. */
export function findPeer(peers: readonly Peer[], wanted: string): Peer {
  const exact = peers.find(({ spec }) => spec.key === wanted);
  if (exact) return exact;
  const named = peers.filter((peer) => namesOf(peer).includes(wanted));
  if (named.length === 1) return named[0]!;
  const keys = (named.length > 1 ? named : peers).slice(0, MAX_NAMES).map(({ spec }) => spec.key);
  const list = keys.length > 0 ? `there is ${keys.join(', ')}` : 'no peer is known';
  if (named.length > 1) throw new Refusal(409, 'ambiguous_peer', `${named.length} peers are called so: ${list}`);
  throw new Refusal(404, 'unknown_peer', `no peer is called ${JSON.stringify(wanted.slice(0, MAX_TEXT))}; ${list}`);
}

function namesOf({ spec, saidName, session }: Peer): string[] {
  return [spec.name, saidName, session?.identity.name ?? ''].filter((name) => name !== '');
}
