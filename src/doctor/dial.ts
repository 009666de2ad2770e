// The ways to a far end, tried one step after the other as the link itself would go: name, port, TLS. Each step has a deadline and
// says what it met; nothing is said to the far end beyond the TLS handshake.
import type { X509Certificate } from 'node:crypto';
import { promises as dns } from 'node:dns';
import { isIP, type Socket, connect as tcpConnect } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { peerChain } from '../identity/trust.ts';
import { onAbort } from '../lib/abort.ts';
import { LinkError } from '../lib/errors.ts';
import type { LinkContext } from '../links/link.ts';
import {
  type Address,
  explainSocketError,
  formatAddress,
  judgeServer,
  type TlsSettings,
  tlsOptions,
} from '../links/stream.ts';

/** Each step has this long. */
export const STEP_MS = 6_000;
/** Under TLS 1.3 the far end looks at our certificate after we are through: a refusal comes a round trip later. */
const REFUSAL_MS = 600;
const MAX_REFUSAL_MS = 3_000;
const MAX_ADDRESSES = 8;

/** What it takes to go a way as far as TLS. */
export type Surroundings = Pick<LinkContext, 'clock' | 'signal' | 'openTunnel'>;

/** What the name stands for. Rejects with LinkError. An address stands for itself. */
export async function lookUp(host: string, context: Surroundings): Promise<readonly string[]> {
  if (isIP(host)) return [host];
  const found = await within(dns.lookup(host, { all: true }), context, () => {
    const fix = 'check the uplink and the name server of this box, or use the IP address';
    return new LinkError('name_unavailable', `the name ${host} could not be looked up within ${STEP_MS / 1000} s`, fix);
  }).catch((error: Error) => {
    throw error instanceof LinkError ? error : explainSocketError(error, 'server', `"${host}"`);
  });
  return found.slice(0, MAX_ADDRESSES).map(({ address }) => address);
}

/** An open connection and the milliseconds it took. Rejects with LinkError; `connect_timeout` when nothing answers at all. */
export async function open(
  address: Address,
  context: Surroundings,
): Promise<{ readonly socket: Socket; readonly ms: number }> {
  const startedMs = context.clock.nowMs();
  const where = formatAddress(address);
  if (address.via) {
    const socket = await within(context.openTunnel(address.via, context.signal), context, () => silent(where));
    socket.on('error', () => socket.destroy());
    return { socket, ms: Math.round(context.clock.nowMs() - startedMs) };
  }
  const socket = tcpConnect({ host: address.host, port: address.port, autoSelectFamilyAttemptTimeout: 1_500 });
  const connected = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) => reject(explainSocketError(error, 'server', where)));
  });
  socket.on('error', () => socket.destroy());
  try {
    await within(connected, context, () => silent(where));
    return { socket, ms: Math.round(context.clock.nowMs() - startedMs) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function silent(where: string): LinkError {
  return new LinkError(
    'connect_timeout',
    `${where} did not answer at all within ${STEP_MS / 1000} s: packets to it are lost`,
    'a firewall there drops them, the port is not forwarded by the NAT (router) in front of it, or the address is wrong; a portal link through a hub needs no open port',
  );
}

export interface Handshake {
  readonly chain: readonly X509Certificate[];
  /** '' when none was agreed. */
  readonly alpn: string;
  /** `TLSv1.3`. */
  readonly protocol: string;
  readonly ms: number;
  /** Why we do not accept it. */
  readonly ours?: LinkError | undefined;
  /** Why it does not accept us, as far as it said so in TLS. */
  readonly theirs?: LinkError | undefined;
}

/** Shakes hands over an open socket, which is then closed. Rejects with LinkError when that fails. */
export async function shakeHands(
  plain: Socket,
  address: Address,
  tls: TlsSettings | undefined,
  context: LinkContext,
): Promise<Handshake> {
  const where = formatAddress(address);
  const startedMs = context.clock.nowMs();
  const socket = tlsConnect({
    ...(tls ? tlsOptions(tls) : { rejectUnauthorized: false }),
    socket: plain,
    ...(isIP(address.host) ? {} : { servername: address.host }),
  });
  socket.on('error', () => socket.destroy());
  try {
    await within(secured(socket, where), context, () => {
      const words = `${where} takes the connection but does not answer the TLS handshake`;
      return new LinkError(
        'handshake_timeout',
        words,
        'one side may be set to plain TCP: both must mean TLS, or neither',
      );
    });
    const ms = context.clock.nowMs() - startedMs;
    const chain = peerChain(socket); // node:tls tells it once only
    const ours = tls && verdict(chain, tls, address, context);
    const shown = {
      chain,
      alpn: socket.alpnProtocol || '',
      protocol: socket.getProtocol() ?? '',
      ms,
    };
    const theirs = tls && !ours ? await refusal(socket, where, ms, context) : undefined;
    return { ...shown, ours, theirs };
  } finally {
    socket.destroy();
  }
}

function secured(socket: TLSSocket, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', (error) => reject(explainSocketError(error, 'server', where)));
    socket.once('close', () => reject(explainSocketError(hungUp(), 'server', where)));
  });
}

function verdict(
  chain: readonly X509Certificate[],
  tls: TlsSettings,
  address: Address,
  context: LinkContext,
): LinkError | undefined {
  try {
    judgeServer(chain, tls, address, context);
    return undefined;
  } catch (error) {
    if (error instanceof LinkError) return error;
    throw error;
  }
}

/** Waits a little for a refusal of our certificate. Bytes, or silence, mean that there is none. */
function refusal(
  socket: TLSSocket,
  where: string,
  tookMs: number,
  { clock, signal }: Pick<LinkContext, 'clock' | 'signal'>,
): Promise<LinkError | undefined> {
  return new Promise((resolve) => {
    const settle = (error?: LinkError) => {
      cancel();
      release();
      resolve(error);
    };
    const cancel = clock.after(Math.min(MAX_REFUSAL_MS, Math.max(REFUSAL_MS, 3 * tookMs)), () => settle());
    let release = () => {};
    release = onAbort(signal, () => settle());
    socket.once('error', (error) => settle(explainSocketError(error, 'server', where)));
    socket.once('data', () => settle());
    socket.once('close', () => settle());
    socket.resume();
  });
}

function hungUp(): Error {
  return Object.assign(new Error('hung up'), { code: 'ECONNRESET' });
}

/** Rejects with LinkError `aborted` when told to stop, with `late()` after STEP_MS. */
function within<T>(
  promise: Promise<T>,
  { clock, signal }: Pick<LinkContext, 'clock' | 'signal'>,
  late: () => LinkError,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      cancel();
      release();
      finish();
    };
    const cancel = clock.after(STEP_MS, () => settle(() => reject(late())));
    let release = () => {};
    release = onAbort(signal, () => settle(() => reject(new LinkError('aborted', 'told to stop', ''))));
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: Error) => settle(() => reject(error)),
    );
  });
}
