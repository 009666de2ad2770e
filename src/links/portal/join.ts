// Joining another box by its code: dials its portal port, or goes through a hub, proves the code, and makes the two each other's peers.
import type { Socket } from 'node:net';
import type { KeyPair } from '../../identity/identity.ts';
import type { Clock } from '../../lib/clock.ts';
import { LinkError } from '../../lib/errors.ts';
import type { NewPeer } from '../pairing.ts';
import { type Address, dialTcp, formatAddress, parseAddress } from '../stream.ts';
import { CONNECT_MS } from './limits.ts';
import { joinByCode, PAIRING_MS } from './pairing.ts';
import { Resumptions } from './resumption.ts';
import { Securer } from './secure.ts';

export const PORTAL_PORT = 9090;

export interface JoinOptions {
  /** `host` or `host:port`; or a way through a hub. */
  readonly to: string | { readonly where: string; open(signal: AbortSignal): Promise<Socket> };
  readonly code: string;
  readonly keyPair: KeyPair;
  /** What we call ourselves. */
  readonly name: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Resolves to what `settle` resolves to. Rejects with LinkError. */
export async function joinRelay<Result>(
  { to, code, keyPair, name, clock, signal }: JoinOptions,
  settle: (peer: NewPeer, address: string) => Promise<Result>,
): Promise<Result> {
  const { where, open } = typeof to === 'string' ? directly(addressOf(to), clock) : to;
  const raw = await open(signal);
  const patience = { clock, signal, ms: PAIRING_MS };
  const securer = new Securer(keyPair, new Resumptions(clock));
  const secured = await securer.asStranger(raw, where, patience);
  const self = { pin: securer.pin, name };
  return joinByCode(secured, code, self, (peer) => settle(peer, where), where, patience);
}

function directly(address: Address, clock: Clock) {
  return {
    where: formatAddress(address),
    open: (signal: AbortSignal) => {
      const context = { clock, signal, report: () => {}, openTunnel: noTunnel };
      return dialTcp(address, { connectMs: CONNECT_MS, handshakeMs: PAIRING_MS }, context);
    },
  };
}

function addressOf(said: string): Address {
  const found = [said, `${said}:${PORTAL_PORT}`, `[${said}]:${PORTAL_PORT}`]
    .map(parseAddress)
    .find((address) => address?.host && address.port > 0);
  if (found) return found;
  throw new LinkError(
    'bad_address',
    `${JSON.stringify(said.slice(0, 80))} is no address`,
    'such as hq.example.org:9090',
  );
}

function noTunnel(): never {
  throw new LinkError('no_tunnel', 'joining goes directly', '');
}
