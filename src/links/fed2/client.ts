// We dial: a TAK server (tak-federation §2.4) or a federation hub (§2.5). One connection per run; its end is the run's end.
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { CLOSE_WORDS, type CloseReason } from '../../core/reason.ts';
import type { PeerSpec } from '../../core/session.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError } from '../../lib/errors.ts';
import { SERVING, scanGroups, scanHealth } from '../../wire/federation.ts';
import type { LinkContext } from '../link.ts';
import { type Address, dialTls, formatAddress, type Secured, type TlsSettings } from '../stream.ts';
import { formatVia } from '../via.ts';
import type { Fed2Config } from './config.ts';
import { cancel, type GrpcStatus, type Method, readStatus, requestHeaders, STATUS } from './grpc.ts';
import { CLIENT_HEALTH, groupsFrame, HTTP2_LIMITS, helloFrame } from './hello.ts';
import {
  CONNECT_MS,
  HANDSHAKE_MS,
  HEALTH_ABANDON_MS,
  HEALTH_DEADLINE_MS,
  HEALTH_MISSES,
  NOT_CONNECTED_MAX,
  REDIAL_MS,
  ROL_REOPEN_MS,
  SETTLE_MS,
  TLS_MS,
} from './limits.ts';
import { FederateSession } from './session.ts';
import { explainEnd, explainStatus, trouble } from './trouble.ts';

export interface DialOptions {
  readonly address: Address;
  readonly config: Fed2Config;
  readonly spec: PeerSpec;
  readonly tls: TlsSettings;
}

/** Resolves after abort. Rejects with LinkError when the connection could not be made, was refused or ended. */
export async function dial(options: DialOptions, context: LinkContext): Promise<void> {
  if (context.signal.aborted) return;
  let secured: Secured;
  try {
    secured = await dialTls(options.address, options.tls, { connectMs: CONNECT_MS, handshakeMs: TLS_MS }, context);
  } catch (error) {
    if (context.signal.aborted) return;
    throw atEase(error);
  }
  const where = formatAddress(options.address);
  if (secured.alpn !== 'h2') {
    secured.socket.destroy();
    throw trouble({ code: 'no_alpn', words: `${where} did not agree to HTTP/2`, fix: NO_ALPN_FIX });
  }
  const call = new Call(secured, options, context);
  const failure = await call.ended;
  if (failure && !context.signal.aborted) throw failure;
}

const CLOSED_FIX = 'It reconnects by itself. If it stays so, the log of the peer says why.';
const NO_ALPN_FIX =
  'This is not a Federation v2 port. TAK servers offer v2 on 9001 as a rule, a Federation Hub on 9102; 9000 and 9101 are v1.';

/** TAK needs a moment to tidy up between two connections (§2.1). */
function atEase(error: unknown): unknown {
  if (!(error instanceof LinkError) || error.retryAfterMs >= REDIAL_MS) return error;
  return new LinkError(error.code, error.message, error.fix, { cause: error.cause, retryAfterMs: REDIAL_MS });
}

/** One connection that we made, from its first call to its end. */
class Call {
  /** Settles once everything is closed: undefined after abort. */
  readonly ended: Promise<LinkError | undefined>;
  readonly #context: LinkContext;
  readonly #config: Fed2Config;
  readonly #where: string;
  readonly #http2: ClientHttp2Session;
  readonly #session: FederateSession;
  readonly #hello: Buffer;
  /** What to cancel at the end: timers and the abort listener. */
  readonly #cleanup = new Set<() => void>();
  #finish: (failure: LinkError | undefined) => void = () => {};
  #error: Error | undefined;
  #misses = 0;
  #notConnected = 0;

  constructor(secured: Secured, options: DialOptions, context: LinkContext) {
    const { socket, identity } = secured;
    this.#context = context;
    this.#config = options.config;
    const { via } = options.address;
    this.#where = formatAddress(options.address);
    this.#hello = helloFrame(context, options.config, 'client');
    this.ended = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#http2 = connect(`https://${this.#where}`, { ...HTTP2_LIMITS, createConnection: () => socket });
    this.#session = new FederateSession({
      context,
      spec: options.spec,
      identity,
      http2: this.#http2,
      socket,
      settings: options.config,
      hops: () => options.config.groupHops,
      tunnelled: via && { address: this.#where, via: formatVia(via) },
      onClosed: (reason, cause) => this.#closed(reason, cause),
    });
    this.#watchConnection();
    this.#after(HANDSHAKE_MS, () => {
      if (!this.#session.attached) this.#close('handshake_timeout', this.#notServing());
    });
    this.#cleanup.add(onAbort(context.signal, () => this.#session.close('shutdown')));
    this.#open().catch((error) => this.#session.fail(error));
  }

  // --- the order of calls (§7.4) -------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#serving();
    if (this.#session.closed) return;
    const events = this.#start('clientEvents');
    events.end(this.#hello);
    this.#session.readEvents(events);
    await this.#settled(events);
    if (this.#session.closed) return;
    const out = this.#start('serverEvents');
    this.#session.readControl(out, (payload) => this.#session.introduced(payload));
    this.#session.writeEvents(out);
    out.once('response', () => this.#accepted());
    await this.#settled(out);
    if (this.#session.closed) return;
    this.#sayGroups();
    this.#checkHealth();
    this.#openRolOut();
    this.#openRolIn();
  }

  /** Asks for the peer's groups; resolves when it says SERVING. Peers that never do are none: the deadline ends those. */
  #serving(): Promise<void> {
    return new Promise((resolve) => {
      const groups = this.#start('serverGroups');
      this.#session.readControl(groups, (payload) => {
        const said = scanGroups(payload);
        if (said.groups.length > 0) this.#session.grouped(said.groups);
        if (said.status === SERVING.serving) resolve();
      });
      groups.end(this.#hello);
      this.#cleanup.add(resolve);
    });
  }

  /**
   * TAK handles every call in a thread of its own, and one that overtakes the call it depends on loses the contact snapshot
   * or fails (§2.4). The first answer tells that the peer has dealt with it; peers that answer later get a moment.
   */
  #settled(stream: ClientHttp2Stream): Promise<void> {
    return new Promise((resolve) => {
      stream.once('response', resolve);
      this.#cleanup.add(resolve);
      this.#after(SETTLE_MS, resolve);
    });
  }

  #sayGroups(): void {
    const stream = this.#start('clientGroups');
    this.#session.readControl(stream, (payload) => this.#session.introduced(payload));
    if (this.#config.groups.length > 0) stream.write(groupsFrame(this.#context, { groups: this.#config.groups }));
  }

  #openRolOut(): void {
    const stream = this.#start('serverRol');
    this.#session.readControl(stream, (payload) => this.#session.introduced(payload));
    this.#session.writeRol(stream);
  }

  #openRolIn(): void {
    const stream = this.#start('clientRol');
    stream.end(this.#hello);
    this.#session.readRol(stream);
  }

  /** The peer has taken us in: the hub may be told. */
  #accepted(): void {
    if (this.#session.attached || this.#session.closed) return;
    this.#session.attach();
    this.#context.report('connected', this.#where);
  }

  // --- calls and their ends ------------------------------------------------------------------------------------------

  #start(method: Method): ClientHttp2Stream {
    const stream = this.#request(method);
    let status: GrpcStatus | undefined;
    const verdict = (headers: Parameters<typeof readStatus>[0]) => {
      status ??= readStatus(headers);
      if (status) this.#streamEnded(method, stream, status);
    };
    stream.on('response', verdict);
    stream.on('trailers', verdict);
    stream.on('close', () => {
      // When the whole connection is gone, its end says why.
      if (!status && !this.#http2.destroyed) this.#streamEnded(method, stream, resetStatus(stream.rstCode));
    });
    return stream;
  }

  #request(method: Method): ClientHttp2Stream {
    const { version } = this.#context.node;
    const stream = this.#http2.request(requestHeaders(this.#where, method, `waystation/${version}`), {
      endStream: false,
    });
    this.#session.adopt(stream);
    return stream;
  }

  /** ROL streams may be missing, or end and be opened again; the end of any other is the end. */
  #streamEnded(method: Method, stream: ClientHttp2Stream, status: GrpcStatus): void {
    if (this.#session.closed) return;
    if (method !== 'clientRol' && method !== 'serverRol') {
      return this.#close('remote_closed', explainStatus(method, status, this.#where, this.#session.attached));
    }
    this.#context.log.debug({ method, status }, 'the peer ended a mission stream');
    // Ours is the half that is still open; a peer that ended its own reads no more.
    cancel(stream);
    if (status.code === STATUS.unimplemented) return;
    this.#after(ROL_REOPEN_MS, () => (method === 'clientRol' ? this.#openRolIn() : this.#openRolOut()));
  }

  // --- health --------------------------------------------------------------------------------------------------------

  /** Asks, and asks again a period after the last one, whatever comes of it. */
  #checkHealth(): void {
    const { clock } = this.#context;
    const startedMs = clock.nowMs();
    const { chunks } = this.#session;
    const stream = this.#request('health');
    let status: GrpcStatus | undefined;
    let health: number | undefined;
    stream.on('response', (headers) => (status ??= readStatus(headers)));
    stream.on('trailers', (headers) => (status ??= readStatus(headers)));
    this.#session.readControl(stream, (payload) => {
      health = scanHealth(payload);
    });
    const cancelDeadline = this.#after(HEALTH_DEADLINE_MS, () => this.#healthMissed(chunks));
    let abandoned = false;
    const cancelAbandon = this.#after(HEALTH_ABANDON_MS, () => {
      abandoned = true;
      cancel(stream);
    });
    stream.on('close', () => {
      cancelDeadline();
      cancelAbandon();
      if (abandoned || this.#session.closed) return;
      this.#healthAnswered(status ?? resetStatus(stream.rstCode), health, clock.nowMs() - startedMs);
    });
    stream.end(CLIENT_HEALTH);
    this.#after(this.#config.healthIntervalMs, () => this.#checkHealth());
  }

  #healthAnswered(status: GrpcStatus, health: number | undefined, tookMs: number): void {
    this.#misses = 0;
    this.#session.rtt(tookMs);
    // A peer without health checks has proved by the answer that it lives.
    if (status.code === STATUS.unimplemented) return this.#accepted();
    if (status.code !== STATUS.ok) {
      return this.#close('remote_closed', explainStatus('health', status, this.#where, this.#session.attached));
    }
    if (health === SERVING.notConnected) return this.#forgotten();
    if (health === SERVING.notServing) return this.#close('remote_closed', this.#notServing());
    this.#notConnected = 0;
    this.#accepted();
  }

  /** NOT_CONNECTED: our event stream is not known there. Normal while connecting. */
  #forgotten(): void {
    if (++this.#notConnected < NOT_CONNECTED_MAX) return;
    const words = `${this.#where} answers, but says that we are not connected`;
    const fix =
      'It has lost its state, by a restart perhaps. It reconnects by itself. A proxy in between would do this too.';
    this.#close('remote_closed', trouble({ code: 'not_connected', words, fix }));
  }

  /** No answer in time. Not a miss while other things come in: then the answer is merely behind them. */
  #healthMissed(chunksBefore: number): void {
    if (this.#session.chunks > chunksBefore || ++this.#misses < HEALTH_MISSES) return;
    const words = `${this.#where} has answered no health check for ${(HEALTH_DEADLINE_MS * HEALTH_MISSES) / 1000} s`;
    this.#close(
      'idle_timeout',
      trouble({ code: 'idle_timeout', words, fix: 'The way to it is cut, or it hangs. It reconnects by itself.' }),
    );
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  #watchConnection(): void {
    this.#http2.on('error', (error) => {
      this.#error ??= error;
    });
    this.#http2.on('goaway', (code) => this.#close('remote_closed', goneAway(this.#where, code)));
    this.#http2.on('close', () => this.#connectionLost());
  }

  #connectionLost(): void {
    const { reason, cause } = explainEnd(this.#error, 'server', this.#where);
    if (reason === 'protocol_error' && cause) return this.#session.fail(cause);
    this.#session.close(
      reason,
      cause ?? trouble({ code: 'closed', words: `${this.#where} closed the connection`, fix: CLOSED_FIX }),
    );
  }

  #notServing(): LinkError {
    const words = `${this.#where} took the connection but does not serve federation`;
    const fix = 'Federation may be switched off there, or still starting. It is tried again by itself.';
    return trouble({ code: 'not_serving', words, fix });
  }

  #close(reason: CloseReason, cause: LinkError): void {
    this.#session.close(reason, cause);
  }

  #closed(reason: CloseReason, cause: Error | undefined): void {
    for (const run of this.#cleanup) run();
    this.#cleanup.clear();
    if (reason === 'shutdown') return this.#finish(undefined);
    if (cause instanceof LinkError) return this.#finish(cause);
    this.#finish(
      trouble({ code: reason, words: `${this.#where}: ${cause?.message ?? CLOSE_WORDS[reason]}`, fix: '' }, cause),
    );
  }

  /** A timer that ends with the connection. Returns its cancellation. */
  #after(delayMs: number, run: () => void): () => void {
    const stop = () => {
      cancelTimer();
      this.#cleanup.delete(stop);
    };
    const cancelTimer = this.#context.clock.after(delayMs, () => {
      this.#cleanup.delete(stop);
      // node:http2 may have given up the connection and not said so yet.
      if (!this.#session.closed && !this.#http2.destroyed) run();
    });
    this.#cleanup.add(stop);
    return stop;
  }
}

function goneAway(where: string, code: number): LinkError {
  if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM) {
    const fix = 'Something between may be sending HTTP/2 pings; this relay sends none. It reconnects by itself.';
    return trouble({ code: 'goaway_calm', words: `${where} found us too busy (GOAWAY ENHANCE_YOUR_CALM)`, fix });
  }
  const fix = 'TAK servers do this when their federation settings change. It reconnects by itself.';
  return trouble({ code: 'goaway', words: `${where} is closing down the connection (GOAWAY ${code})`, fix });
}

/** A stream that was reset without a status (gRPC over HTTP/2, "Errors"). */
function resetStatus(rstCode: number | undefined): GrpcStatus {
  const words = `stream reset, HTTP/2 error ${rstCode ?? 0}`;
  if (rstCode === constants.NGHTTP2_REFUSED_STREAM) return { code: STATUS.unavailable, words };
  if (rstCode === constants.NGHTTP2_CANCEL) return { code: STATUS.cancelled, words };
  if (rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM) return { code: STATUS.resourceExhausted, words };
  return { code: STATUS.internal, words };
}
