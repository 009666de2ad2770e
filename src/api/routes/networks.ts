// Networks inside this box: which of them federate, and what each side takes and gives. Two of the same owner need no code.
import * as z from 'zod';
import { editYaml } from '../../config/edit.ts';
import type { Section } from '../../config/links-edit.ts';
import {
  federate,
  MAIN,
  networkPeers,
  networksOf,
  putNetworkPeer,
  removeNetworkPair,
} from '../../config/networks-edit.ts';
import type { NetworkStatus, RelayStatus } from '../../core/status.ts';
import { Refusal } from '../refusal.ts';
import { Reply, type Route, route } from '../route.ts';
import type { ConfigRouteDeps } from './config.ts';
import { toggles } from './pairing.ts';

export interface NetworkDeps extends ConfigRouteDeps {
  snapshot(): RelayStatus;
}

const neighbour = z
  .object({
    name: z.string(),
    in: z.boolean(),
    out: z.boolean(),
    dp_in: z.boolean(),
    dp_out: z.boolean(),
    paused: z.boolean().describe('Neither in nor out on this side: nothing crosses, they federate all the same.'),
    events_received: z.int(),
    events_forwarded: z.int(),
    last_heard: z.string().nullable(),
  })
  .meta({ id: 'NetworkPeer' });

const network = z
  .object({
    name: z.string(),
    links: z.array(z.string()).describe('Links with a peer in it.'),
    connected: z.int().describe('Peers and clients in it that are connected.'),
    in_per_second: z.number().describe('Events from those who are in it, mean of the last minute.'),
    out_per_second: z.number(),
    events_received: z.int().describe('From all who are or were in it.'),
    events_sent: z.int(),
    waiting: z.int(),
    peers: z.array(neighbour),
  })
  .meta({ id: 'Network' });

const params = z.object({ name: z.string().max(32), other: z.string().max(32) });
const tag = 'Federation';
const path = '/api/federation/networks/{name}/peers/{other}';

export function networkRoutes(deps: NetworkDeps): Route[] {
  const { desk } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/federation/networks',
      role: 'viewer',
      tag,
      summary: 'Networks inside this box, with whom each federates, its toggles, and what has crossed',
      answer: z.array(network),
      handle: () => listNetworks(deps),
    }),
    route({
      method: 'PUT',
      path,
      role: 'operator',
      tag,
      summary:
        'Lets two networks of this box federate, at once; or changes what this one takes from the other and gives it',
      params,
      body: z.strictObject(toggles),
      answer: network,
      handle: async ({ params: { name, other }, body, caller, note }) => {
        await desk.change((text) => editYaml(text, putNetworkPeer(text, name, other, body)), { who: caller.name });
        note(`network ${name} federates with ${other}`);
        return (await listNetworks(deps)).find((one) => one.name === name)!;
      },
    }),
    route({
      method: 'DELETE',
      path,
      role: 'operator',
      tag,
      summary: 'Two networks of this box no longer federate',
      params,
      status: 204,
      handle: async ({ params: { name, other }, caller, note }) => {
        if (!federate((await desk.state()).text, name, other)) {
          throw new Refusal(404, 'unknown_peer', `${name.slice(0, 32)} does not federate with ${other.slice(0, 32)}`);
        }
        await desk.change((text) => editYaml(text, removeNetworkPair(text, name, other)), { who: caller.name });
        note(`networks ${name} and ${other} no longer federate`);
        return new Reply(204);
      },
    }),
  ];
}

export async function listNetworks({ desk, snapshot }: NetworkDeps): Promise<z.output<typeof network>[]> {
  const { text } = await desk.state();
  const written = networksOf(text);
  if (written.length === 0) return [];
  const { networks: crossings = [], byNetwork = [], peers } = snapshot();
  const names = [...new Set([MAIN, ...written.map(({ name }) => String(name))])];
  const sideOf = (name: string, other: string) =>
    networkPeers(written.find((one) => one.name === name)).find((peer) => peer.name === other);
  return names.map((name) => ({
    name,
    links: [...new Set(peers.filter(({ policy }) => policy.network === name).map(({ link }) => link))],
    ...figuresOf(byNetwork.find((one) => one.name === name)),
    peers: names.flatMap((other) => {
      if (!federate(text, name, other)) return [];
      const policy = (sideOf(name, other)?.policy ?? {}) as Section;
      const on = (way: string) => policy[way] !== false;
      const [into, out] = [
        crossings.find((one) => one.from === other && one.to === name),
        crossings.find((one) => one.from === name && one.to === other),
      ];
      return {
        name: other,
        ...{ in: on('in'), out: on('out'), dp_in: on('dp_in'), dp_out: on('dp_out') },
        paused: !on('in') && !on('out'),
        events_received: into?.crossed ?? 0,
        events_forwarded: out?.crossed ?? 0,
        last_heard: into?.lastMs == null ? null : new Date(into.lastMs).toISOString(),
      };
    }),
  }));
}

function figuresOf(status: NetworkStatus | undefined) {
  return {
    connected: status?.connected ?? 0,
    in_per_second: status?.rates.in ?? 0,
    out_per_second: status?.rates.out ?? 0,
    events_received: status?.totals.received ?? 0,
    events_sent: status?.totals.sent ?? 0,
    waiting: status?.totals.queued ?? 0,
  };
}
