// TCP ports of listening links: bound all or none, and why not in words.
import { createServer, type Server, type Socket } from 'node:net';
import { FatalError, LinkError } from '../lib/errors.ts';
import { type Address, formatAddress, KEEPALIVE_MS } from './address.ts';
import type { LinkContext } from './link.ts';

/**
 * Binds every address, or none: a failure closes those already bound. Rejects with LinkError (`port_in_use`, `address_missing`,
 * `listen_failed`) or FatalError (`port_forbidden`).
 */
export async function bindAll(
  addresses: readonly Address[],
  accept: (socket: Socket) => void,
  context: LinkContext,
): Promise<readonly Server[]> {
  const servers: Server[] = [];
  try {
    for (const address of addresses) servers.push(await bind(address, accept, context));
    return servers;
  } catch (error) {
    for (const server of servers) server.close();
    throw error;
  }
}

function bind(address: Address, accept: (socket: Socket) => void, context: LinkContext): Promise<Server> {
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS }, accept);
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(explainBindError(error, address)));
    // Without a host node:net tries `::` (which takes IPv4 too) and falls back to 0.0.0.0 where IPv6 is off.
    server.listen({ port: address.port, ...(address.host ? { host: address.host } : {}) }, () => {
      server.removeAllListeners('error');
      server.on('error', (error) => context.log.warn({ err: error }, 'could not accept a connection'));
      resolve(server);
    });
  });
}

function explainBindError(error: NodeJS.ErrnoException, address: Address): Error {
  const where = address.host ? formatAddress(address) : `port ${address.port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new LinkError('port_in_use', `${where} is in use by another program or link`, PORT_IN_USE_FIX, {
        cause: error,
      });
    case 'EADDRNOTAVAIL':
      return new LinkError('address_missing', `this box has no address ${address.host}`, ADDRESS_MISSING_FIX, {
        cause: error,
      });
    case 'EACCES':
      return new FatalError('port_forbidden', `this program may not listen on ${where}`, PORT_FORBIDDEN_FIX, error);
    default:
      return new LinkError('listen_failed', `cannot listen on ${where}: ${error.message}`, '', { cause: error });
  }
}

const PORT_IN_USE_FIX = 'Stop the other program, or choose another port. It is tried again by itself.';
const ADDRESS_MISSING_FIX =
  'Check the address, or leave it out to listen on all. It is tried again by itself when an interface comes up.';
const PORT_FORBIDDEN_FIX = 'Ports below 1024 need a permission (CAP_NET_BIND_SERVICE): choose a higher port.';

/** `host:port` of a listener, for people. */
export function boundAddress(server: Server): string {
  const bound = server.address();
  return bound && typeof bound === 'object' ? formatAddress({ host: bound.address, port: bound.port }) : '';
}
