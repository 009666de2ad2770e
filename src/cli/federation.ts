// `waystation federation`: two boxes become each other's peers by a code typed on one of them.
import { parseArgs } from 'node:util';
import type { NodeStatus } from '../core/fleet.ts';
import type { ProbeReport } from '../core/probe.ts';
import { sleep } from '../lib/abort.ts';
import { API_HELP, API_OPTIONS, type ApiTarget, askJson, findApi, sendJson } from './client.ts';
import { type CliContext, type Command, EXIT, UsageError } from './command.ts';
import { federates, limitHops } from './federates.ts';
import { renderProbe } from './probe.ts';

/** Two boxes have written their configurations by then. */
const JOIN_TIMEOUT_MS = 45_000;
const CONNECT_WAIT_MS = 30_000;
const CONNECT_STEP_MS = 250;
const PROBE_TIMEOUT_MS = 60_000;

export const federationCommand: Command = {
  name: 'federation',
  usage:
    'code [--clear] | join HOST[:PORT] CODE | networks | network A B [--apart] | peers | hops NAME [GROUP=N ...] [--max-hops N]',
  summary:
    'Join two Waystations: make a code here, type it there; networks of this box; federates let in by fingerprint',
  help: [
    '  code              a code by which another Waystation joins this one; the one before is no longer good',
    '  code --clear      ends the code; who has joined stays joined',
    '  join HOST CODE    joins the box at HOST by the code it shows, and proves that events flow (port 9090 unless given)',
    '  join NAME CODE --hub HUB   the same through a hub that both boxes dial; NAME is what the hub calls the other box',
    '  networks          networks inside this box, and what crosses between them',
    '  network A B       lets the networks A and B federate, at once; again: what A takes from B and gives it',
    '  network A B --apart  nothing crosses between them any more',
    '  peers             federates let in by their fingerprint: what crosses, how far it may travel',
    '  hops NAME [GROUP=N ...]   how many hops what goes out to a federate may make in TAK groups, this one counted; none: no limits',
    '',
    '  --no in|out|dp-in|dp-out   leave that way off here: events from them, to them; data packages and missions.',
    '                    May be given more than once; both sides choose for themselves, and may change it later',
    '  --as NAME         what the other box is called here (default: what it calls itself)',
    '  --network NAME    code, join: the network of this box that the other is in',
    '  --max-hops N      hops: in whatever group',
    '  --minutes N       how long a code is good (default 15)',
    API_HELP,
  ].join('\n'),
  async run([what, ...args], context) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...API_OPTIONS,
        clear: { type: 'boolean', default: false },
        no: { type: 'string', multiple: true, default: [] },
        as: { type: 'string' },
        network: { type: 'string' },
        hub: { type: 'string' },
        apart: { type: 'boolean', default: false },
        'max-hops': { type: 'string' },
        minutes: { type: 'string' },
      },
    });
    const terms = {
      ...off(values.no),
      ...(values.as === undefined ? {} : { name: values.as }),
      ...(values.network === undefined ? {} : { network: values.network }),
    };
    const api = await findApi(values, context);
    if (what === 'code' && positionals.length === 0) {
      const minutes = values.minutes === undefined ? {} : { minutes: Number(values.minutes) };
      return values.clear ? clear(api, context) : make(api, { ...terms, ...minutes }, context);
    }
    if (what === 'networks' && positionals.length === 0) return networks(api, context);
    if (what === 'peers' && positionals.length === 0) return federates(api, context);
    const [address, code, ...more] = positionals;
    if (what === 'hops' && address) {
      return limitHops(api, { name: address, said: positionals.slice(1), most: values['max-hops'] }, context);
    }
    if (what === 'network' && address && code && more.length === 0) {
      return network(api, { name: address, other: code, ways: values.apart ? undefined : off(values.no) }, context);
    }
    if (what === 'join' && address && code && more.length === 0) {
      const hub = values.hub === undefined ? {} : { hub: values.hub };
      return join(api, { ...terms, ...hub, address, code }, context);
    }
    throw new UsageError('say code, join HOST CODE, networks, network A B, peers, or hops NAME');
  },
};

const WAYS = ['in', 'out', 'dp-in', 'dp-out'];
type Way = 'in' | 'out' | 'dp_in' | 'dp_out';

function off(ways: readonly string[]): Record<string, false> {
  const wrong = ways.find((way) => !WAYS.includes(way));
  if (wrong !== undefined) throw new UsageError(`--no takes one of ${WAYS.join(', ')}`);
  return Object.fromEntries(ways.map((way) => [way.replace('-', '_'), false as const]));
}

async function make(api: ApiTarget, body: object, { signal, out }: CliContext): Promise<number> {
  const made = await sendJson<{
    code: string;
    expires_at: string;
    addresses: readonly string[];
    hubs: readonly string[];
  }>(api, 'POST', '/api/federation/codes', body, signal);
  out(`${made.code}`);
  out(`good once, until ${made.expires_at}. At the other box, with the address by which it reaches this one:`);
  for (const address of made.addresses.slice(0, 8)) out(`  waystation federation join ${address} ${made.code}`);
  for (const hub of made.hubs.slice(0, 4))
    out(
      `  waystation federation join NAME ${made.code} --hub HUB   (where both dial ${hub}; NAME: what it calls this box)`,
    );
  return EXIT.ok;
}

interface Network {
  readonly name: string;
  readonly links: readonly string[];
  readonly peers: readonly (Readonly<Record<Way, boolean>> & {
    readonly name: string;
    readonly events_received: number;
    readonly events_forwarded: number;
  })[];
}

async function networks(api: ApiTarget, { signal, out }: CliContext): Promise<number> {
  const list = await askJson<readonly Network[]>(api, '/api/federation/networks', { signal });
  if (list.length === 0) out('this box is one network; networks: in the configuration makes more');
  for (const { name, links, peers } of list) {
    out(`${name}: ${links.join(', ') || 'nobody is in it now'}`);
    if (peers.length === 0) out('  federates with none');
    for (const peer of peers) {
      const ways = WAYS.filter((way) => peer[way.replace('-', '_') as Way]).join(' ') || 'paused';
      out(`  with ${peer.name}: ${ways}; ${peer.events_received} events in, ${peer.events_forwarded} out`);
    }
  }
  return EXIT.ok;
}

/** `ways` undefined: apart. */
async function network(
  api: ApiTarget,
  { name, other, ways }: { readonly name: string; readonly other: string; readonly ways: object | undefined },
  context: CliContext,
): Promise<number> {
  const path = `/api/federation/networks/${encodeURIComponent(name)}/peers/${encodeURIComponent(other)}`;
  if (ways) await sendJson(api, 'PUT', path, ways, context.signal);
  else await askJson(api, path, { method: 'DELETE', signal: context.signal });
  return networks(api, context);
}

async function clear(api: ApiTarget, { signal, out }: CliContext): Promise<number> {
  await askJson(api, '/api/federation/codes', { method: 'DELETE', signal });
  out('no code is open');
  return EXIT.ok;
}

async function join(api: ApiTarget, body: object, context: CliContext): Promise<number> {
  const { signal, out } = context;
  const request = { method: 'POST', body: JSON.stringify(body), type: 'application/json', timeoutMs: JOIN_TIMEOUT_MS };
  const joined = await askJson<{ name: string; link: string; their_name: string; pin: string }>(
    api,
    '/api/federation/join',
    {
      ...request,
      signal,
    },
  );
  if (joined.link === '') {
    out(`the code is of this box: its networks federate now`);
    return networks(api, context);
  }
  out(`joined ${joined.name} (it calls itself ${joined.their_name}, SHA256:${joined.pin})`);
  if (!(await connected(api, joined.name, signal))) {
    out('it is not connected yet: "waystation node peers" tells why');
    return EXIT.failed;
  }
  const report = await askJson<ProbeReport>(api, '/api/probe', {
    method: 'POST',
    body: JSON.stringify({ peer: joined.name, endToEnd: false }),
    type: 'application/json',
    timeoutMs: PROBE_TIMEOUT_MS,
    signal,
  });
  out(renderProbe(report));
  return report.arrived ? EXIT.ok : EXIT.failed;
}

async function connected(api: ApiTarget, name: string, signal: AbortSignal): Promise<boolean> {
  for (let waited = 0; waited < CONNECT_WAIT_MS && !signal.aborted; waited += CONNECT_STEP_MS) {
    const { peers } = await askJson<NodeStatus>(api, '/api/node', { signal });
    if (peers.some((peer) => peer.name === name && peer.status === 'connected')) return true;
    await sleep(CONNECT_STEP_MS, signal);
  }
  return false;
}
