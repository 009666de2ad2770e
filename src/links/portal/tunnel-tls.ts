// TLS between the two relays at the ends of a tunnel to a service: the same certificates and pins as their session's. ALPN
// names the service, so that a hub cannot lead a caller to another one than it asked for.
import type { Socket } from 'node:net';
import { type ConnectionOptions, TLSSocket, connect as tlsConnect } from 'node:tls';
import { judge, peerChain } from '../../identity/trust.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import { explainSocketError, type TlsSettings } from '../stream.ts';
import type { Patience } from './tunnel-opening.ts';

const ALPN_PREFIX = 'waystation-service/';

/** The caller's end. Resolves with a socket to `service` of the peer that `tls` pins. Rejects with LinkError; owns `raw`. */
export async function secureAsCaller(
  raw: Socket,
  service: string,
  tls: TlsSettings,
  where: string,
  patience: Patience,
): Promise<TLSSocket> {
  const socket = tlsConnect({ ...optionsOf(tls, service), socket: raw });
  return finish(socket, 'server', service, tls, where, patience);
}

/** The callee's end; `raw` was read up to the caller's first TLS byte, or not at all. */
export async function secureAsCallee(
  raw: Socket,
  service: string,
  tls: TlsSettings,
  where: string,
  patience: Patience,
): Promise<TLSSocket> {
  const socket = new TLSSocket(raw, { ...optionsOf(tls, service), isServer: true, requestCert: true });
  return finish(socket, 'client', service, tls, where, patience);
}

function optionsOf(tls: TlsSettings, service: string): ConnectionOptions {
  return {
    cert: tls.keyPair.certPem,
    key: tls.keyPair.keyPem,
    // The judge decides, not OpenSSL's store.
    ca: [],
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    // A post-quantum key share alone would be 2.3 kB.
    ecdhCurve: 'X25519',
    ALPNProtocols: [ALPN_PREFIX + service],
  };
}

async function finish(
  socket: TLSSocket,
  peer: 'client' | 'server',
  service: string,
  tls: TlsSettings,
  where: string,
  patience: Patience,
): Promise<TLSSocket> {
  socket.on('error', () => socket.destroy());
  try {
    await handshake(socket, peer, where, patience);
    if (socket.alpnProtocol !== ALPN_PREFIX + service) throw wrongService(where);
    const verdict = judge(peerChain(socket), tls.trust, peer, patience.clock.wallMs());
    if (!verdict.ok) throw new LinkError(verdict.code, `${where}: ${verdict.words}`, verdict.fix);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function handshake(socket: TLSSocket, peer: 'client' | 'server', where: string, patience: Patience): Promise<void> {
  const { clock, signal, ms } = patience;
  return new Promise((resolve, reject) => {
    const settle = (failure?: LinkError) => {
      cancelDeadline();
      release();
      socket.off('secure', done).off('error', fail).off('close', closed);
      if (failure) reject(failure);
      else resolve();
    };
    const done = () => settle();
    const fail = (error: Error) => settle(explainSocketError(error, peer, where));
    const closed = () => settle(new LinkError('tunnel_closed', `${where}: the tunnel ended in the TLS handshake`, ''));
    const late = () =>
      settle(new LinkError('handshake_timeout', `${where} did not finish the TLS handshake in time`, ''));
    const cancelDeadline = clock.after(ms, late);
    socket.once('secure', done).once('error', fail).once('close', closed);
    let release = () => {};
    release = onAbort(signal, () => settle(new LinkError('aborted', 'told to stop', '')));
  });
}

function wrongService(where: string): LinkError {
  const fix =
    'Ask the operators of the hub and of the other relay: one of them is led to another service than was asked for.';
  return new LinkError('wrong_service', `${where}: the far end means another service`, fix);
}
