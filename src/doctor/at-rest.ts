// What can be told while no relay runs: whether the links' settings let anything cross, whether their ports are free, and whether
// far ends take connections. Certificates are looked at by the relay that shows them.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Check, Diagnosis } from '../core/diagnosis.ts';
import { diagnosisOf } from '../core/diagnosis.ts';
import type { Clock } from '../lib/clock.ts';
import { LinkError } from '../lib/errors.ts';
import type { LinkKind, Way, Ways } from '../links/link.ts';
import type { LinkEntry } from '../links/runner.ts';
import { type Address, formatAddress } from '../links/stream.ts';
import { lookUp, open, type Surroundings } from './dial.ts';
import { holderOf } from './holder.ts';
import { settingsChecks } from './settings.ts';
import { bad, ok, unknown } from './words.ts';

export interface AtRest {
  readonly kinds: readonly LinkKind<unknown>[];
  readonly entries: readonly LinkEntry[];
  /** Where the API would be served; looked at when no link is named. */
  readonly api: readonly Address[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Empty: there is no link of that name. */
export async function examineAtRest(rest: AtRest, link: string | undefined): Promise<Diagnosis[]> {
  const wanted = rest.entries.filter(({ name }) => link === undefined || name === link);
  const links = await Promise.all(wanted.map((entry) => linkAtRest(entry, rest)));
  if (link !== undefined) return links;
  const checks = (await Promise.all(rest.api.map((address) => bindCheck(address, 'api')))).flat();
  return [...links, diagnosisOf('', '', checks, 'the ports of the page and the API are free')];
}

async function linkAtRest(entry: LinkEntry, { kinds, clock, signal }: AtRest): Promise<Diagnosis> {
  const { name, kind, enabled, settings } = entry;
  const checks = settingsChecks(entry, false, clock);
  if (!enabled) return diagnosisOf(name, kind, checks, 'switched off');
  const ways: Ways = kinds.find((one) => one.kind === kind)?.ways?.(settings) ?? { listens: [], dials: [] };
  const around: Surroundings = { clock, signal, openTunnel: noTunnel };
  const tried = await Promise.all([
    ...ways.listens.map(({ address, transport }) =>
      transport === 'udp' ? hearCheck(address) : bindCheck(address, ''),
    ),
    ...ways.dials.slice(0, 24).map((way) => dialCheck(way, around)),
  ]);
  return diagnosisOf(name, kind, [...checks, ...tried.flat()], 'nothing found wrong while it does not run');
}

function noTunnel(): Promise<never> {
  return Promise.reject(new LinkError('at_rest', 'a tunnel can be tried only while the relay runs', ''));
}

/** Takes the port for a moment. */
function bindCheck(address: Address, of: string): Promise<Check[]> {
  const where = formatAddress(address);
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') {
        const holder = holderOf(address.port);
        const fix = 'stop that program, or choose another port for this link';
        return resolve([bad('port', of, `${where} is in use${holder ? ` by ${holder}` : ''}`, fix)]);
      }
      const fix =
        error.code === 'EACCES'
          ? 'ports below 1024 need a permission (CAP_NET_BIND_SERVICE): choose a higher one'
          : 'check the address, or leave it out to listen on all';
      resolve([bad('port', of, `cannot listen on ${where}: ${error.message}`, fix)]);
    });
    server.listen({ port: address.port, ...(address.host ? { host: address.host } : {}) }, () => {
      server.close(() => resolve([ok('port', of, `${where} is free`)]));
    });
  });
}

/** Hears there for a moment, beside whoever else does. */
function hearCheck(address: Address): Promise<Check[]> {
  const where = `UDP ${formatAddress(address)}`;
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    socket.once('error', (error) => {
      const fix = 'stop the program that has this port for itself alone, or give this link another';
      resolve([bad('port', '', `${where} cannot be heard: ${error.message}`, fix)]);
      socket.close();
    });
    socket.bind({ port: address.port, address: address.host }, () => {
      socket.close(() => resolve([ok('port', '', `${where} can be heard`)]));
    });
  });
}

async function dialCheck({ address, peer }: Way, around: Surroundings): Promise<Check[]> {
  const of = peer ?? formatAddress(address);
  try {
    if (!address.via) await lookUp(address.host, around);
    const { socket } = await open(address, around);
    socket.destroy();
    return [ok('port', of, `${formatAddress(address)} takes connections`)];
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    if (error.code === 'at_rest' || error.code === 'aborted') return [unknown('port', of, error.message)];
    return [bad(error.code.startsWith('name') ? 'name' : 'port', of, error.message, error.fix)];
  }
}
