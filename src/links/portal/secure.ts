// TLS between relays: TLS 1.3, EC P-256 certificates on both sides, the pin and nothing else. Everything is chosen for few
// bytes: one cipher, one curve, one signature. A post-quantum key share alone would be 2.3 kB.
import { constants, type X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
  connect as tlsConnect,
} from 'node:tls';
import type { KeyPair } from '../../identity/identity.ts';
import { judge, peerChain } from '../../identity/trust.ts';
import { fingerprint } from '../../identity/x509.ts';
import { onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { LinkError } from '../../lib/errors.ts';
import { explainSocketError } from '../stream.ts';
import { PAIRING_ALPN } from './pairing.ts';
import type { Resumption, Resumptions } from './resumption.ts';

const CONTEXT: SecureContextOptions = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // The one that every TLS 1.3 must have, with the hash that our pre-shared keys are for.
  ciphers: 'TLS_AES_128_GCM_SHA256',
  ecdhCurve: 'X25519',
  sigalgs: 'ecdsa_secp256r1_sha256',
  ca: [],
  secureOptions: constants.SSL_OP_NO_TICKET,
};
/** A server that asks for certificates must say what its sessions are for; a client must not, or no key of ours would fit. */
const SESSIONS_FOR = { sessionIdContext: 'portal02' };

/** A connection whose far end has proved that it has the key to a certificate. */
export interface Secured {
  readonly socket: TLSSocket;
  /** SHA-256 of that certificate, lower hex. */
  readonly pin: string;
  /** The key it was begun with; undefined: certificates were shown. */
  readonly used: Resumption | undefined;
}

export interface Patience {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly ms: number;
}

/** A certificate as a person reads and compares it. */
export function pinWords(pin: string): string {
  return `SHA256:${pin}`;
}

export class Securer {
  readonly #keyPair: KeyPair;
  readonly #resumptions: Resumptions;
  readonly #asClient: SecureContext;
  readonly #asServer: SecureContext;

  constructor(keyPair: KeyPair, resumptions: Resumptions) {
    const own = { cert: keyPair.certPem, key: keyPair.keyPem };
    this.#keyPair = keyPair;
    this.#resumptions = resumptions;
    this.#asClient = createSecureContext({ ...CONTEXT, ...own });
    this.#asServer = createSecureContext({ ...CONTEXT, ...own, ...SESSIONS_FOR });
  }

  get pin(): string {
    return this.#keyPair.fingerprint;
  }

  /**
   * Begins TLS as the client of the peer with this pin. Rejects with LinkError (`not_pinned` when it is another); owns the
   * raw socket. `where`: its address, for words.
   */
  async asClient(raw: Socket, pin: string, where: string, patience: Patience): Promise<Secured> {
    const resumption = this.#resumptions.forDialling(pin);
    const { identity = '', psk = Buffer.alloc(0) } = resumption ?? {};
    const socket = tlsConnect({
      socket: raw,
      secureContext: this.#asClient,
      // The pin decides, below.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...(resumption ? { pskCallback: () => ({ identity, psk }) } : {}),
    });
    try {
      await secured(socket, 'server', where, patience);
    } catch (error) {
      if (resumption) this.#resumptions.drop(resumption);
      throw error;
    }
    if (resumption && socket.isSessionReused()) return { socket, pin, used: resumption };
    const [leaf] = peerChain(socket);
    if (leaf && fingerprint(leaf) === pin) return { socket, pin, used: undefined };
    socket.destroy();
    throw notPinned(leaf, pin, where, patience.clock);
  }

  /** Begins TLS as the client of a box that is no peer yet, to join it by a code. Whoever answers is who answers. */
  async asStranger(raw: Socket, where: string, patience: Patience): Promise<Secured> {
    const socket = tlsConnect({
      socket: raw,
      secureContext: this.#asClient,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ALPNProtocols: [PAIRING_ALPN],
    });
    await secured(socket, 'server', where, patience);
    const [leaf] = peerChain(socket);
    if (leaf) return { socket, pin: fingerprint(leaf), used: undefined };
    socket.destroy();
    throw new LinkError('no_certificate', `${where} sent no certificate`, NO_CERTIFICATE_FIX);
  }

  /** Begins TLS as the server of whoever it is. Rejects with LinkError; owns the raw socket. */
  async asServer(raw: Socket, where: string, patience: Patience): Promise<Secured> {
    let named: Resumption | undefined;
    const options = {
      isServer: true,
      secureContext: this.#asServer,
      requestCert: true,
      rejectUnauthorized: false,
      // Who offers none has a session in mind.
      ALPNProtocols: [PAIRING_ALPN],
      pskCallback: (_socket: TLSSocket, identity: string) => {
        named = this.#resumptions.named(identity);
        return named?.psk ?? null;
      },
    };
    const socket = new TLSSocket(raw, options);
    await secured(socket, 'client', where, patience);
    const [leaf] = peerChain(socket);
    if (leaf) return { socket, pin: fingerprint(leaf), used: undefined };
    if (named && socket.isSessionReused()) return { socket, pin: named.pin, used: named };
    socket.destroy();
    throw new LinkError('no_certificate', `${where} sent no certificate`, NO_CERTIFICATE_FIX);
  }

  /** Takes out of a proven session what the next can begin with. */
  learn({ socket, pin, used }: Secured, role: 'client' | 'server'): void {
    this.#resumptions.learn(socket, role, pin, used);
  }
}

const NO_CERTIFICATE_FIX = 'Relays show each other certificates: this was something else, or a relay set up wrongly.';

/** The judge's words for a certificate that is not the one pinned. */
function notPinned(leaf: X509Certificate | undefined, pin: string, where: string, clock: Clock): LinkError {
  const verdict = judge(leaf ? [leaf] : [], { cas: [], pins: [pin] }, 'server', clock.wallMs());
  if (verdict.ok) throw new Error('a pinned certificate was taken for another');
  return new LinkError(verdict.code, `${where}: wrong certificate: ${verdict.words}`, verdict.fix);
}

/** Resolves when TLS is up. On error, early close, deadline or abort the socket is destroyed and the promise rejects. */
function secured(socket: TLSSocket, peer: 'client' | 'server', where: string, patience: Patience): Promise<void> {
  const event = peer === 'server' ? 'secureConnect' : 'secure';
  return new Promise((resolve, reject) => {
    const settle = (failure?: LinkError) => {
      cancelDeadline();
      release();
      socket.off(event, succeed).off('error', fail).off('close', closed);
      if (!failure) return resolve();
      socket.destroy();
      reject(failure);
    };
    const succeed = () => settle();
    const fail = (error: Error) => settle(explainSocketError(error, peer, where));
    const closed = () => fail(Object.assign(new Error('hung up'), { code: 'ECONNRESET' }));
    // Closes after each error, and none is unhandled, now and later.
    socket.on('error', () => socket.destroy());
    socket.once(event, succeed).once('error', fail).once('close', closed);
    const cancelDeadline = patience.clock.after(patience.ms, () => settle(timeout(where, patience.ms)));
    let release = () => {};
    release = onAbort(patience.signal, () => settle(new LinkError('aborted', 'told to stop', '')));
  });
}

function timeout(where: string, ms: number): LinkError {
  const words = `${where} did not finish the TLS handshake within ${Math.round(ms / 1000)} s`;
  return new LinkError(
    'handshake_timeout',
    words,
    'Check that a relay listens there; a very slow link needs patience.',
  );
}
