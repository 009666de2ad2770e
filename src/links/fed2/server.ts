// Peers dial us: TAK servers (tak-federation §2.3) and federation hubs (§2.5). One Accepted per connection.
import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { CloseReason } from '../../core/reason.ts';
import type { PeerSpec } from '../../core/session.ts';
import { onAbort } from '../../lib/abort.ts';
import { scanGroups } from '../../wire/federation.ts';
import type { GroupHops } from '../../wire/federation-stamps.ts';
import type { LinkContext, Trouble } from '../link.ts';
import { listenTls, peerAddress, type Secured, type TlsSettings } from '../stream.ts';
import type { Fed2Config } from './config.ts';
import {
  answerCall,
  badRequest,
  cancel,
  endCall,
  type Method,
  methodOf,
  RESPONSE_HEADERS,
  refuseCall,
  STATUS,
} from './grpc.ts';
import { groupsFrame, HTTP2_LIMITS, helloFrame, SERVER_HEALTH } from './hello.ts';
import { HANDSHAKE_MS, HEALTH_SILENCE_MS, TLS_MS } from './limits.ts';
import { FederateSession } from './session.ts';
import { explainEnd } from './trouble.ts';

export interface ListenOptions {
  readonly config: Fed2Config;
  readonly tls: TlsSettings;
  /** The peer that this certificate stands for. */
  specFor(secured: Secured): PeerSpec;
  /** It has rules of its own on this link, which another would not know. */
  isOwn(secured: Secured): boolean;
  /** How far what goes out to it may travel. It may change while it is connected. */
  hopsFor(secured: Secured): GroupHops | undefined;
}

/** Accepts federates until abort; resolves when every connection is closed. Rejects as listenTls does. */
export async function listen(options: ListenOptions, context: LinkContext): Promise<void> {
  const { config, tls } = options;
  const accept = (secured: Secured) => {
    if (secured.socket.destroyed) return;
    if (secured.alpn === 'h2') return void new Accepted(secured, options, context);
    if (!options.isOwn(secured) && context.handOver(secured)) return;
    context.refuse(peerAddress(secured.socket), NO_ALPN);
    secured.socket.destroy();
  };
  await listenTls(config.listen, tls, accept, { maxConnections: config.maxConnections, handshakeMs: TLS_MS }, context);
}

const NO_ALPN: Trouble = {
  code: 'no_alpn',
  words: 'the peer speaks Federation v1; only v2 is offered here',
  fix:
    'On the TAK server set protocolVersion="2" in the federation-outgoing entry, and the port of this link (9001); or take v1 in ' +
    'as well: a link of kind fed1 with beside: and the name of this link.',
};

/** One connection that a peer made, from its first call to its end. */
class Accepted {
  readonly #context: LinkContext;
  readonly #config: Fed2Config;
  readonly #http2: ServerHttp2Session;
  readonly #session: FederateSession;
  readonly #hello: Buffer;
  /** At most one stream of a kind at a time: what a peer can make us hold is bounded by that. */
  readonly #open = new Map<Method, ServerHttp2Stream>();
  #release: () => void = () => {};
  readonly #cancelDeadline: () => void;
  #cancelHealth: (() => void) | undefined;
  /** Monotonic time of the peer's last sign of life, once it has sent a HealthCheck. */
  #aliveMs = 0;
  #error: Error | undefined;
  #saidServing = false;

  constructor(secured: Secured, options: ListenOptions, context: LinkContext) {
    const { socket, identity } = secured;
    this.#context = context;
    this.#config = options.config;
    this.#hello = helloFrame(context, options.config, 'server');
    this.#http2 = performServerHandshake(socket, HTTP2_LIMITS);
    this.#session = new FederateSession({
      context,
      spec: options.specFor(secured),
      identity,
      http2: this.#http2,
      socket,
      settings: options.config,
      hops: () => options.hopsFor(secured),
      onClosed: (reason) => this.#closed(reason),
    });
    this.#cancelDeadline = context.clock.after(HANDSHAKE_MS, () => this.#handshakeTimeout());
    this.#http2.on('stream', (stream, headers) => {
      try {
        this.#called(stream, headers);
      } catch (error) {
        this.#session.fail(error);
      }
    });
    this.#http2.on('error', (error) => {
      this.#error ??= error;
    });
    this.#http2.on('goaway', () => this.#session.close('remote_closed'));
    this.#http2.on('close', () => this.#connectionLost());
    this.#release = onAbort(context.signal, () => this.#session.close('shutdown'));
  }

  // --- calls ---------------------------------------------------------------------------------------------------------

  #called(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.#session.adopt(stream);
    if (this.#session.closed) return cancel(stream);
    const method = methodOf(headers[':path']);
    const bad = badRequest(headers);
    if (bad) return refuseCall(stream, bad);
    if (!method) return refuseCall(stream, { code: STATUS.unimplemented, words: 'not offered here' });
    if (method === 'health') return this.#health(stream);
    if (this.#open.has(method)) return refuseCall(stream, { code: STATUS.alreadyExists, words: 'already open' });
    this.#open.set(method, stream);
    stream.once('close', () => this.#streamClosed(method));
    stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
    this.#begin[method](stream);
  }

  readonly #begin: Readonly<Record<Exclude<Method, 'health'>, (stream: ServerHttp2Stream) => void>> = {
    serverGroups: (stream) => this.#onSubscription(stream, () => this.#sayGroups(stream)),
    clientGroups: (stream) => {
      stream.write(this.#hello);
      this.#session.readControl(stream, (payload) => this.#session.grouped(scanGroups(payload).groups));
      stream.once('end', () => endCall(stream));
    },
    // The way out for our events: from here on the hub may send contacts and positions down it.
    clientEvents: (stream) =>
      this.#onSubscription(stream, () => {
        this.#session.writeEvents(stream);
        this.#cancelDeadline();
        this.#session.attach();
      }),
    serverEvents: (stream) => {
      stream.write(this.#hello);
      this.#session.readEvents(stream);
      stream.once('end', () => this.#eventsEnded());
    },
    clientRol: (stream) => this.#onSubscription(stream, () => this.#session.writeRol(stream)),
    serverRol: (stream) => {
      stream.write(this.#hello);
      this.#session.readRol(stream);
      stream.once('end', () => endCall(stream));
    },
  };

  /** SERVING once on a connection: for each one TAK opens another event stream (§2.3). */
  #sayGroups(stream: ServerHttp2Stream): void {
    const { groups } = this.#config;
    if (!this.#saidServing) stream.write(groupsFrame(this.#context, { serving: true }));
    this.#saidServing = true;
    if (groups.length > 0) stream.write(groupsFrame(this.#context, { groups }));
  }

  /** What a peer calls itself may be empty: its certificate names it well enough. A second message would be a mistake. */
  #onSubscription(stream: ServerHttp2Stream, begin: () => void): void {
    let begun = false;
    this.#session.readControl(stream, (payload) => {
      this.#session.introduced(payload);
      if (begun) return;
      begun = true;
      begin();
    });
  }

  /** Without event streams there is no federation; the others may come and go. */
  #streamClosed(method: Method): void {
    this.#open.delete(method);
    if (method === 'clientEvents' || method === 'serverEvents') this.#eventsEnded();
  }

  #eventsEnded(): void {
    // When the whole connection is gone, its end says why.
    if (!this.#http2.destroyed) this.#session.close('remote_closed');
  }

  // --- health --------------------------------------------------------------------------------------------------------

  #health(stream: ServerHttp2Stream): void {
    this.#aliveMs = this.#context.clock.nowMs();
    stream.once('end', () => answerCall(stream, SERVER_HEALTH));
    stream.resume();
    if (!this.#cancelHealth) this.#watchHealth(HEALTH_SILENCE_MS);
  }

  /**
   * From the first HealthCheck on the peer must keep them coming, or something else: under load they may be stuck behind
   * its data. One that never sends any is left to TCP's keepalive.
   */
  #watchHealth(delayMs: number): void {
    const { clock } = this.#context;
    const { chunks } = this.#session;
    this.#cancelHealth = clock.after(delayMs, () => {
      if (this.#session.chunks > chunks) this.#aliveMs = clock.nowMs();
      const leftMs = this.#aliveMs + HEALTH_SILENCE_MS - clock.nowMs();
      if (leftMs > 0) this.#watchHealth(leftMs);
      else this.#session.close('idle_timeout');
    });
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  #handshakeTimeout(): void {
    this.#context.refuse(this.#session.address, NO_CALLS);
    this.#session.close('handshake_timeout');
  }

  #connectionLost(): void {
    const { reason, cause } = explainEnd(this.#error, 'client', this.#session.address);
    if (reason === 'protocol_error' && cause) return this.#session.fail(cause);
    this.#session.close(reason, cause);
  }

  #closed(reason: CloseReason): void {
    this.#release();
    this.#cancelDeadline();
    this.#cancelHealth?.();
    if (reason !== 'replaced') return;
    const { identity, address } = this.#session;
    this.#context.log.warn({ peer: address, name: identity.name, fingerprint: identity.id }, REPLACED);
  }
}

const NO_CALLS: Trouble = {
  code: 'handshake_timeout',
  words: `the peer connected but asked for no events within ${HANDSHAKE_MS / 1000} s`,
  fix: 'It may be no TAK server or federation hub, or a very slow one. It is let in as soon as it follows the protocol.',
};

const REPLACED =
  'the same certificate connected again, the older connection was closed; if this goes on, two boxes share one certificate';
