// One place where HTTP is served: plain, TLS or the Unix socket. Bounds connections, in all and by source, the time anybody may
// take, and the requests a source may make; whoever is not in the list of allowed addresses is cut off before a byte is read.

import { constants } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createConnection, type Socket } from 'node:net';
import { allowList, isLoopback, sourceOf } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { FatalError, LinkError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { TokenBucket } from '../lib/token-bucket.ts';
import type { ListenerKind } from './gate.ts';
import { problem, setCaution } from './http.ts';
import { Refusal } from './refusal.ts';

// Limits of each listener.
export const MAX_CONNECTIONS = 256;
/** From one address; from one /64 with IPv6. */
export const MAX_CONNECTIONS_EACH = 64;
const HEADERS_TIMEOUT_MS = 10_000;
/** For the whole request, its body included. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** Beyond that Node itself ends it. */
const LATE_MS = 5_000;
/** A connection on which nothing moves, also while an answer is being read. */
const IDLE_MS = 120_000;
const TLS_HANDSHAKE_MS = 10_000;
const MAX_HEADER_BYTES = 16_384;
/** Requests of one source, but for this computer itself. */
const REQUESTS_PER_SECOND = 50;
const REQUEST_BURST = 200;
const MAX_SOURCES = 1024;
const NO_RESUMPTION = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

/** A certificate and its key, PEM. */
export interface ServerKeys {
  readonly certPem: string;
  readonly keyPem: string;
}

export type Place =
  | { readonly kind: 'plain'; readonly host: string; readonly port: number }
  /** `keys` is asked again for every connection: a renewed certificate is shown from the next one on. */
  | {
      readonly kind: 'tls' | 'enroll' | 'federates';
      readonly host: string;
      readonly port: number;
      keys(): ServerKeys;
      /**
       * Asks for a certificate, and lets in whoever has none; what it is worth is judged by whoever answers. A function is asked
       * for every connection: browsers that have a certificate bother their users with the question.
       */
      readonly asksCertificate?: boolean | (() => boolean) | undefined;
    }
  | { readonly kind: 'socket'; readonly path: string };

export interface ListenerOptions {
  readonly place: Place;
  /** Networks whose addresses may connect; empty: all. */
  readonly from: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly onRequest: RequestListener;
  /** Default: REQUEST_TIMEOUT_MS. */
  readonly requestTimeoutMs?: number | undefined;
  /** The section of the configuration, for words. Default: api. */
  readonly setting?: string | undefined;
  /** A refusal made here, for the counters. */
  onRefused(code: string): void;
}

export interface Listener {
  readonly kind: ListenerKind;
  readonly server: Server;
  /** `host:port`, or the socket's path. */
  readonly address: string;
  close(): Promise<void>;
}

/** Resolves when it listens. Rejects with LinkError `port_in_use`, FatalError `cannot_listen`. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { place } = options;
  const server = makeServer(place, limitRequests(options), options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS);
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = IDLE_MS;
  server.on('drop', () => options.onRefused('connection_limit'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => rude(error, socket, options));
  if (place.kind !== 'socket') limitConnections(server, options);
  await bind(server, options);
  return {
    kind: place.kind,
    server,
    address: addressOf(server),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function makeServer(place: Place, onRequest: RequestListener, requestTimeout: number): Server {
  const bounds: ServerOptions = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeout),
    // Whoever reads a body has the last word about it, and says so in an answer; this is for what nobody reads.
    requestTimeout: requestTimeout + LATE_MS,
    connectionsCheckingInterval: Math.min(2_000, requestTimeout),
  };
  if (!('keys' in place)) return createServer(bounds, onRequest);
  let shown = place.keys();
  const contextOf = ({ certPem, keyPem }: ServerKeys) => ({
    cert: certPem,
    key: keyPem,
    minVersion: 'TLSv1.2' as const,
    // A resumed session shows no certificate.
    ...(place.asksCertificate ? { secureOptions: NO_RESUMPTION } : {}),
  });
  const asks = place.asksCertificate ? { requestCert: true, rejectUnauthorized: false, sessionTimeout: 1 } : {};
  const server = createTlsServer(
    { ...bounds, ...asks, ...contextOf(shown), handshakeTimeout: TLS_HANDSHAKE_MS },
    onRequest,
  );
  const { asksCertificate } = place;
  server.prependListener('connection', () => {
    // node:tls reads it for each connection.
    if (typeof asksCertificate === 'function') Object.assign(server, { requestCert: asksCertificate() });
    const keys = place.keys();
    if (keys.certPem === shown.certPem) return;
    shown = keys;
    server.setSecureContext(contextOf(keys));
  });
  return server;
}

function limitConnections(server: Server, { from, onRefused }: ListenerOptions): void {
  const allowed = allowList(from);
  const open = new Map<string, number>();
  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const source = sourceOf(address);
    const count = open.get(source) ?? 0;
    const refusal = !allowed(address) ? 'address_not_allowed' : count >= MAX_CONNECTIONS_EACH ? 'source_limit' : '';
    if (refusal) {
      onRefused(refusal);
      socket.on('error', () => {});
      return socket.destroy();
    }
    open.set(source, count + 1);
    socket.once('close', () => {
      const left = (open.get(source) ?? 1) - 1;
      if (left > 0) open.set(source, left);
      else open.delete(source);
    });
  });
}

function limitRequests({ clock, onRequest, onRefused }: ListenerOptions): RequestListener {
  const buckets = new Map<string, TokenBucket>();
  return (request, response) => {
    const address = request.socket.remoteAddress;
    if (address === undefined || isLoopback(address)) return onRequest(request, response);
    const source = sourceOf(address);
    const bucket = buckets.get(source) ?? new TokenBucket(REQUESTS_PER_SECOND, REQUEST_BURST, () => clock.nowMs());
    buckets.delete(source);
    buckets.set(source, bucket);
    if (buckets.size > MAX_SOURCES) buckets.delete(buckets.keys().next().value!);
    if (bucket.tryTake(1)) return onRequest(request, response);
    onRefused('rate_limited');
    setCaution(response);
    const words = `more than ${REQUESTS_PER_SECOND} requests a second from one address`;
    problem(
      response,
      new Refusal(429, 'rate_limited', words, { headers: { 'retry-after': '1', connection: 'close' } }),
    );
  };
}

/** What is no HTTP, or takes too long: told in a word, then cut off. */
function rude(error: NodeJS.ErrnoException, socket: Socket, { onRefused }: ListenerOptions): void {
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const long = error.code === 'HPE_HEADER_OVERFLOW';
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  onRefused(late ? 'request_timeout' : long ? 'headers_too_large' : 'not_http');
  const status = late ? '408 Request Timeout' : long ? '431 Request Header Fields Too Large' : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () => socket.destroy());
}

async function bind(server: Server, { place, log, setting = 'api' }: ListenerOptions): Promise<void> {
  if (place.kind === 'socket') await clearStale(place.path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, place, setting)));
    const ready = () => {
      server
        .removeAllListeners('error')
        .on('error', (error) => log.warn({ err: error }, 'could not accept a connection'));
      resolve();
    };
    if (place.kind === 'socket') listenPrivately(server, place.path, ready);
    else server.listen(place.port, place.host, ready);
  });
}

/** Nobody but our user may ever open it, not even between its making and the change of its mode. */
function listenPrivately(server: Server, path: string, ready: () => void): void {
  const before = process.umask(0o177);
  try {
    server.listen(path, () => {
      chmodSync(path, 0o600);
      ready();
    });
  } finally {
    process.umask(before);
  }
}

/** A socket that nobody answers is left from a relay that was killed. */
async function clearStale(path: string): Promise<void> {
  const answered = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (answered) {
    throw new LinkError(
      'already_running',
      `another relay runs with this data folder: it answers at ${path}`,
      'stop it, or give this one a data folder of its own',
    );
  }
  try {
    rmSync(path, { force: true });
  } catch {
    // listening says why it cannot be
  }
}

function bindError(error: NodeJS.ErrnoException, place: Place, setting: string): Error {
  if (place.kind === 'socket') {
    const fix = 'let the relay write to its data folder, and keep its path under 100 characters';
    return new FatalError(
      'cannot_listen',
      `cannot serve the command line at ${place.path}: ${error.message}`,
      fix,
      error,
    );
  }
  const key = `${setting}.${place.kind === 'plain' ? 'listen' : place.kind}`;
  if (error.code === 'EADDRINUSE') {
    const fix = `stop the other program, or set another "${key}" in the configuration`;
    return new LinkError('port_in_use', `the port ${place.port} of ${setting} is taken by another program`, fix, {
      cause: error,
    });
  }
  const words = `cannot serve ${setting} at ${place.host}:${place.port}: ${error.message}`;
  return new FatalError('cannot_listen', words, `set another "${key}" in the configuration`, error);
}

function addressOf(server: Server): string {
  const bound = server.address() as AddressInfo | string;
  if (typeof bound === 'string') return bound;
  return `${bound.address.includes(':') ? `[${bound.address}]` : bound.address}:${bound.port}`;
}
