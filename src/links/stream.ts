// Sockets for every link: dial and listen over TCP and TLS with deadlines, keepalive, limits and refusals in words.
// A socket handed out here never raises an unhandled 'error', closes after each, and is gone CLOSE_GRACE_MS after abort at
// the latest.
import { constants, type X509Certificate } from 'node:crypto';
import { isIP, type Socket, connect as tcpConnect } from 'node:net';
import {
  checkServerIdentity,
  createServer as createTlsServer,
  type SecureContextOptions,
  type TLSSocket,
  type Server as TlsServer,
  connect as tlsConnect,
} from 'node:tls';
import type { PeerIdentity } from '../core/session.ts';
import type { KeyPair } from '../identity/identity.ts';
import { explainTlsError, judge, peerChain, type Trust } from '../identity/trust.ts';
import { aborted, onAbort } from '../lib/abort.ts';
import { LinkError } from '../lib/errors.ts';
import { type Address, formatAddress, KEEPALIVE_MS } from './address.ts';
import { bindAll, boundAddress } from './bind.ts';
import type { LinkContext, Trouble } from './link.ts';
import type { Via } from './via.ts';

export { type Address, formatAddress, parseAddress } from './address.ts';

/** One address of several gets this long before the next is tried as well. Node's 250 ms never reaches over a satellite. */
const ATTEMPT_MS = 1_500;
/** Sockets of one listener in the TLS handshake at a time: the part that strangers can ask for. One more ends the oldest. */
const MAX_HANDSHAKES = 64;
/** After abort sessions may say goodbye for this long; then the socket is destroyed. */
const CLOSE_GRACE_MS = 2_000;
/** No resumption (TAK keys state on the session; a resumed one skips our judgement), no second handshake inside one. */
const TLS_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

export interface TlsSettings {
  readonly keyPair: KeyPair;
  readonly trust: Trust;
  /** Protocols offered or accepted, e.g. ['h2']; empty: none. */
  readonly alpn: readonly string[];
  /** Whether the name in the server's certificate must match the address. Off for TAK servers (pin or CA instead). */
  readonly verifyName: boolean;
  /** Dialler: admits the server by the certificates it shows, leaf first, in place of trust and name. Throws LinkError. */
  readonly admitServer?: ((chain: readonly X509Certificate[]) => PeerIdentity) | undefined;
  /** Listener: clients without a certificate are let in, with `proof: 'none'`. One that shows a certificate is judged. */
  readonly optionalClientCert?: boolean | undefined;
}

export interface Deadlines {
  /** From the first packet to an open TCP connection, name look-up included. */
  readonly connectMs: number;
  /** From there to a finished TLS handshake. */
  readonly handshakeMs: number;
}

export interface Secured {
  readonly socket: TLSSocket;
  readonly identity: PeerIdentity;
  /** '' when none was negotiated. */
  readonly alpn: string;
}

/** What dialling needs to know. */
export type DialContext = Pick<LinkContext, 'clock' | 'signal' | 'report' | 'openTunnel'>;

/** Opens a TCP connection, or a tunnel. Rejects with LinkError, code `aborted` when told to stop. */
export async function dialTcp(address: Address, deadlines: Deadlines, context: DialContext): Promise<Socket> {
  const where = formatAddress(address);
  context.report('connecting', where);
  if (address.via) return dialTunnel(address.via, context);
  const socket = tcpConnect({
    ...address,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    autoSelectFamilyAttemptTimeout: ATTEMPT_MS,
  });
  endOnError(socket);
  destroyAfterAbort(socket, context);
  await ready(socket, 'connect', deadlines.connectMs, context, (error) =>
    error ? explainSocketError(error, 'server', where) : connectTimeout(where, deadlines.connectMs),
  );
  return socket;
}

/** Deadlines are the tunnel's own: there is more to do than a TCP handshake. */
async function dialTunnel(via: Via, context: DialContext): Promise<Socket> {
  const socket = await context.openTunnel(via, context.signal);
  endOnError(socket);
  destroyAfterAbort(socket, context);
  return socket;
}

/** Opens a TLS connection and judges the server's certificate. Rejects with LinkError; its code is the judge's. */
export async function dialTls(
  address: Address,
  tls: TlsSettings,
  deadlines: Deadlines,
  context: LinkContext,
): Promise<Secured> {
  const where = formatAddress(address);
  const plain = await dialTcp(address, deadlines, context);
  const socket = tlsConnect({
    ...tlsOptions(tls),
    socket: plain,
    // SNI carries names only (RFC 6066 §3).
    ...(isIP(address.host) ? {} : { servername: address.host }),
  });
  endOnError(socket);
  await ready(socket, 'secureConnect', deadlines.handshakeMs, context, (error) =>
    error ? explainSocketError(error, 'server', where) : handshakeTimeout(where, deadlines.handshakeMs),
  );
  try {
    const chain = peerChain(socket); // once: a client is told it only the first time it asks
    const identity = judgeServer(chain, tls, address, context);
    if (!tls.admitServer) judgeOnChange(socket, chain, { trust: tls.trust, peer: 'server' }, context);
    return { socket, identity, alpn: socket.alpnProtocol || '' };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/**
 * Accepts TCP connections until abort; resolves when every socket is closed. Reports `listening` with the bound addresses.
 * Rejects with LinkError (`port_in_use`, `address_missing`, `listen_failed`) or FatalError (`port_forbidden`).
 * `onConnection` must listen for 'data' and 'close'; whoever takes a socket closes it on abort.
 */
export function listenTcp(
  addresses: readonly Address[],
  onConnection: (socket: Socket) => void,
  limits: { readonly maxConnections: number },
  context: LinkContext,
): Promise<void> {
  return acceptUntilAbort(addresses, onConnection, limits.maxConnections, context);
}

/** As listenTcp; a socket is handed on only after its TLS handshake, with its certificate judged against `tls.trust`. */
export async function listenTls(
  addresses: readonly Address[],
  tls: TlsSettings,
  onConnection: (secured: Secured) => void,
  limits: { readonly maxConnections: number; readonly handshakeMs: number },
  context: LinkContext,
): Promise<void> {
  const handshakes = new Handshakes(limits.handshakeMs, context);
  const server = createTlsServer({
    ...tlsOptions(tls),
    requestCert: true,
    // Over ours comes the deadline in Handshakes, which also destroys the socket.
    handshakeTimeout: limits.handshakeMs * 2,
  });
  server.on('secureConnection', (socket) => {
    endOnError(socket);
    if (!handshakes.finish(socket)) return void socket.destroy();
    const chain = peerChain(socket);
    const verdict = judgeClient(socket, chain, tls, context);
    if (verdict.ok) {
      if (verdict.identity.proof === 'certificate') {
        judgeOnChange(socket, chain, { trust: tls.trust, peer: 'client' }, context);
      }
      return onConnection({ socket, identity: verdict.identity, alpn: socket.alpnProtocol || '' });
    }
    const { code, words, fix } = verdict;
    context.refuse(peerAddress(socket), { code, words, fix });
    socket.destroy();
  });
  server.on('tlsClientError', (error, socket) => {
    handshakes.fail(socket, error);
    socket.destroy();
  });
  const stopped = onAbort(context.signal, () => handshakes.abort());
  try {
    await acceptUntilAbort(addresses, (socket) => handshakes.begin(socket, server), limits.maxConnections, context);
  } finally {
    stopped();
  }
}

/** `host:port` of the far end, for people; '' once the socket is closed. IPv4 inside IPv6 is shown as IPv4. */
export function peerAddress(socket: Socket): string {
  if (!socket.remoteAddress) return '';
  return formatAddress({ host: socket.remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''), port: socket.remotePort ?? 0 });
}

/**
 * Puts an error of an open or opening socket into words. `peer` is the far end's TLS role. Under TLS 1.3 a client learns that it
 * was refused only after its own handshake, so a session's socket errors belong here too.
 */
export function explainSocketError(error: Error, peer: 'client' | 'server', where: string): LinkError {
  const { code, words, fix } = explainTlsError(error, peer, where);
  // A TCP connection that never was cannot have failed in TLS.
  const connecting = (error as NodeJS.ErrnoException).syscall === 'connect';
  return new LinkError(connecting && code === 'tls_failed' ? 'connect_failed' : code, words, fix, { cause: error });
}

function connectTimeout(where: string, ms: number): LinkError {
  const words = `${where} did not answer within ${Math.round(ms / 1000)} s`;
  return new LinkError('connect_timeout', words, 'Check address, port and firewalls: packets are lost without a word.');
}

function handshakeTimeout(where: string, ms: number): LinkError {
  const words = `${where} did not finish the TLS handshake within ${Math.round(ms / 1000)} s`;
  const fix = 'Check that both sides mean TLS on this port; a very slow link needs more time.';
  return new LinkError('handshake_timeout', words, fix);
}

/** Makes sure that 'close' follows every 'error': node:tls leaves a socket open after a bad record. */
function endOnError(socket: Socket): void {
  socket.on('error', () => socket.destroy());
}

/** Abort ends a dialled socket even if its session does not. */
function destroyAfterAbort(socket: Socket, context: DialContext): void {
  let cancelGrace = () => {};
  const release = onAbort(context.signal, () => {
    cancelGrace = context.clock.after(CLOSE_GRACE_MS, () => socket.destroy());
  });
  socket.once('close', () => {
    release();
    cancelGrace();
  });
}

/** Waits for `event`. On error, early close, deadline or abort the socket is destroyed and the promise rejects. */
function ready(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  deadlineMs: number,
  context: DialContext,
  explain: (error?: Error) => LinkError,
): Promise<void> {
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
    const fail = (error: Error) => settle(explain(error));
    const closed = () => settle(explain(hungUp()));
    socket.once(event, succeed).once('error', fail).once('close', closed);
    const cancelDeadline = context.clock.after(deadlineMs, () => settle(explain()));
    let release = () => {};
    release = onAbort(context.signal, () => settle(new LinkError('aborted', 'told to stop', '')));
  });
}

/** TLS as every link speaks it; the judge rules on what was shown. */
export function tlsOptions(
  tls: TlsSettings,
): SecureContextOptions & { rejectUnauthorized: boolean; ALPNProtocols?: string[] } {
  return {
    cert: tls.keyPair.certPem,
    key: tls.keyPair.keyPem,
    // The judge decides, not OpenSSL's store. An empty list also names no CA to clients, so each sends what it has.
    ca: [],
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    secureOptions: TLS_OPTIONS,
    ...(tls.alpn.length > 0 ? { ALPNProtocols: [...tls.alpn] } : {}),
  };
}

/** Rules on what a server that we dialled has shown. Throws LinkError. */
export function judgeServer(
  chain: readonly X509Certificate[],
  tls: TlsSettings,
  address: Address,
  context: LinkContext,
): PeerIdentity {
  if (tls.admitServer) return tls.admitServer(chain);
  const verdict = judge(chain, tls.trust, 'server', context.clock.wallMs());
  if (!verdict.ok) throw new LinkError(verdict.code, `${formatAddress(address)}: ${verdict.words}`, verdict.fix);
  const mismatch = tls.verifyName ? checkServerIdentity(address.host, chain[0]!.toLegacyObject()) : undefined;
  if (!mismatch) return verdict.identity;
  throw new LinkError(
    'name_mismatch',
    `${formatAddress(address)}: the certificate is for another name: ${mismatch.message}`,
    'Use the name that stands in the certificate, or turn verify_name off and trust its CA or fingerprint instead.',
    { cause: mismatch },
  );
}

function judgeClient(socket: TLSSocket, chain: readonly X509Certificate[], tls: TlsSettings, context: LinkContext) {
  if (chain.length === 0 && tls.optionalClientCert) {
    const address = peerAddress(socket);
    return { ok: true, identity: { id: address, name: address, proof: 'none' } } as const;
  }
  return judge(chain, tls.trust, 'client', context.clock.wallMs());
}

/** Whoever loses our trust while connected is cut off at once. */
function judgeOnChange(
  socket: TLSSocket,
  chain: readonly X509Certificate[],
  { trust, peer }: { readonly trust: Trust; readonly peer: 'client' | 'server' },
  context: LinkContext,
): void {
  if (!trust.onChange) return;
  const release = trust.onChange(() => {
    const verdict = judge(chain, trust, peer, context.clock.wallMs());
    if (verdict.ok) return;
    const { code, words, fix } = verdict;
    context.refuse(peerAddress(socket), { code, words, fix });
    socket.destroy(new LinkError(code, words, fix));
  });
  socket.once('close', release);
}

interface Handshake {
  readonly socket: Socket;
  readonly address: string;
  readonly cancelDeadline: () => void;
}

/** The sockets of one listener between accept and the end of their TLS handshake. Each that fails is refused once, in words. */
class Handshakes {
  readonly #deadlineMs: number;
  readonly #context: LinkContext;
  /** By four-tuple: node:tls does not say which accepted socket a TLSSocket sits on. */
  readonly #open = new Map<string, Handshake>();

  constructor(deadlineMs: number, context: LinkContext) {
    this.#deadlineMs = deadlineMs;
    this.#context = context;
  }

  begin(socket: Socket, server: TlsServer): void {
    const [oldest] = this.#open.keys();
    // Not the newcomer: an honest handshake is over in a moment, and those that take the places forever would win.
    if (oldest !== undefined && this.#open.size >= MAX_HANDSHAKES) this.#fail(oldest, handshakeLimit());
    const address = peerAddress(socket);
    const key = fourTuple(socket);
    const cancelDeadline = this.#context.clock.after(this.#deadlineMs, () => {
      this.#fail(key, handshakeTimeout(address, this.#deadlineMs));
    });
    this.#open.set(key, { socket, address, cancelDeadline });
    socket.once('close', () => {
      if (this.#open.has(key)) this.#fail(key, explainSocketError(hungUp(), 'client', address));
    });
    server.emit('connection', socket); // documented: how a socket is given to a TLS server that does not listen itself
  }

  /** False: the socket is not, or no longer, one of ours. */
  finish(socket: TLSSocket): boolean {
    const key = fourTuple(socket);
    this.#open.get(key)?.cancelDeadline();
    return this.#open.delete(key);
  }

  /** A socket that is closed already has no addresses any more: then its 'close' speaks for it. */
  fail(socket: TLSSocket, error: Error): void {
    const key = fourTuple(socket);
    const handshake = this.#open.get(key);
    if (handshake) this.#fail(key, explainSocketError(error, 'client', handshake.address));
  }

  abort(): void {
    for (const { socket } of this.#open.values()) socket.destroy();
  }

  #fail(key: string, { code, message, fix }: LinkError): void {
    const handshake = this.#open.get(key);
    if (!handshake) return;
    this.#open.delete(key);
    handshake.cancelDeadline();
    handshake.socket.destroy();
    if (!this.#context.signal.aborted) this.#context.refuse(handshake.address, { code, words: message, fix });
  }
}

function handshakeLimit(): LinkError {
  const words = `the oldest of ${MAX_HANDSHAKES} TLS handshakes under way gave way to a new one`;
  const fix =
    'A client tries again by itself. If it stays so, somebody floods this port: close it to strangers with a firewall.';
  return new LinkError('handshake_limit', words, fix);
}

function fourTuple(socket: Socket): string {
  return `${socket.localAddress} ${socket.localPort} ${socket.remoteAddress} ${socket.remotePort}`;
}

function hungUp(): Error {
  return Object.assign(new Error('hung up'), { code: 'ECONNRESET' });
}

async function acceptUntilAbort(
  addresses: readonly Address[],
  onSocket: (socket: Socket) => void,
  maxConnections: number,
  context: LinkContext,
): Promise<void> {
  const open = new Set<Socket>();
  const accept = (socket: Socket) => {
    endOnError(socket);
    const refusal = context.admits?.(socket.remoteAddress ?? '') === false ? FOREIGN : undefined;
    const trouble = refusal ?? (open.size >= maxConnections ? connectionLimit(maxConnections) : undefined);
    if (trouble) {
      context.refuse(peerAddress(socket), trouble);
      return void socket.destroy();
    }
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    onSocket(socket);
  };
  const servers = await bindAll(addresses, accept, context);
  context.report('listening', servers.map(boundAddress).join(', '));
  await aborted(context.signal);
  const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
  const cancelGrace = context.clock.after(CLOSE_GRACE_MS, () => {
    for (const socket of open) socket.destroy();
  });
  await Promise.all(closed); // a server is closed once its last connection is gone
  cancelGrace();
}

const FOREIGN: Trouble = {
  code: 'foreign_address',
  words: 'an address that listen_from of this link does not name',
  fix: 'Add it to listen_from, if it should be let in; else somebody looks for open ports.',
};

function connectionLimit(maxConnections: number): Trouble {
  return {
    code: 'peer_limit',
    words: `this listener already has its ${maxConnections} connections`,
    fix: 'Raise max_connections if that many are really expected; otherwise look for a client that connects over and over.',
  };
}
