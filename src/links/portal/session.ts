// One proven connection with a peer: events, requests and signs of life, out and in, and its one end. What outlives it
// (numbers, window, workers) belongs to the peer.
import type { Envelope, Message } from '../../core/message.ts';
import { type NodeRequest, type NodeResponse, problemResponse } from '../../core/node.ts';
import type { CloseReason } from '../../core/reason.ts';
import type { PeerIdentity, Session, SessionPort } from '../../core/session.ts';
import { type LinkError, ProtocolError } from '../../lib/errors.ts';
import { FRAME, type FrameType, portalFrame } from '../../wire/portal.ts';
import {
  type Hello,
  type PortalPing,
  type PortalRequest,
  pingBody,
  readPing,
  readRequest,
  readResponse,
  requestBody,
  responseBody,
} from '../../wire/portal-bodies.ts';
import type { LinkContext } from '../link.ts';
import { Outlet } from '../outlet.ts';
import { Bulk } from './bulk.ts';
import { Calls } from './calls.ts';
import type { Connection, FrameTaker, Role } from './connection.ts';
import { EventsOut, type EventsPeer } from './events.ts';
import { EventsIn } from './events-in.ts';
import type { Greeted } from './greeting.ts';
import type { Keepalive } from './keepalive.ts';
import { Life } from './life.ts';
import {
  CREDIT_BYTES,
  LISTENER_PING_MS,
  MAX_KEEPALIVE_MS,
  MAX_PENDING_BYTES,
  MAX_REQUEST_HOPS,
  PIECE_BYTES,
  REQUEST_MS,
  TCP_KEEPALIVE_EXTRA_MS,
  WRITE_TIMEOUT_MS,
} from './limits.ts';
import { PieceSize } from './piece-size.ts';
import { Pings } from './pings.ts';
import { acknowledges, skillsOf } from './skills.ts';
import { plainText, refusedBy } from './words.ts';
import { refusalOf, type WorkPool } from './work.ts';

/** What of the peer a session works with. */
export interface SessionPeer extends EventsPeer {
  readonly name: string;
  readonly work: WorkPool;
  /** Answers a request of the peer. Never rejects. */
  answer(request: NodeRequest, signal: AbortSignal): Promise<NodeResponse>;
  /** Bytes came. */
  heard(): void;
  /** It owes us something and is silent; or is heard again. */
  suspected(isSilent: boolean): void;
  /** The session is over. */
  ended(session: PortalSession, reason: CloseReason, cause: Error | undefined): void;
}

/** Reasons that leave the peer a moment to end politely; after any other the socket is destroyed at once. */
const POLITE: ReadonlySet<CloseReason> = new Set(['shutdown', 'config_changed', 'replaced', 'peer_limit']);

export class PortalSession implements Session, FrameTaker {
  readonly identity: PeerIdentity;
  readonly address: string;
  readonly federated = true;
  readonly via: string | undefined;
  readonly role: Role;
  /** Of the far end; undefined: it knows the frames and nothing else, or its Hello has not come yet. */
  hello: Hello | undefined;
  /** Monotonic time since when it is up. */
  readonly sinceMs: number;
  readonly #peer: SessionPeer;
  readonly #context: LinkContext;
  readonly #connection: Connection;
  readonly #keepalive: Keepalive;
  readonly #ourPin: string;
  readonly #outlet: Outlet;
  readonly #out: EventsOut;
  readonly #in: EventsIn;
  readonly #calls: Calls;
  readonly #bulk: Bulk;
  readonly #pieces = new PieceSize();
  readonly #pings: Pings;
  readonly #life: Life;
  /** Aborted at the end: nobody waits for answers any more. */
  readonly #abandon = new AbortController();
  #port: SessionPort | undefined;
  #ended = false;
  /** A frame came after the handshake: the far end counts this connection too. */
  #confirmed = false;
  #longestQuietMs = LISTENER_PING_MS / 2;

  constructor({ connection, rttMs }: Greeted, peer: SessionPeer, keepalive: Keepalive, context: LinkContext) {
    const { clock } = context;
    this.#peer = peer;
    this.#context = context;
    this.#connection = connection;
    this.#keepalive = keepalive;
    this.#ourPin = context.identity.portal().fingerprint;
    this.identity = { id: connection.pin, name: peer.name, proof: 'certificate' };
    this.address = connection.address;
    this.via = connection.via;
    this.role = connection.role;
    this.sinceMs = clock.nowMs();
    this.#outlet = new Outlet(
      (bytes, done) => {
        this.#out.flushed();
        connection.write(bytes, (error) => {
          done(error);
          this.#bulk.pump();
        });
      },
      { writable: () => this.#out.writable(), stuck: () => this.close('write_timeout') },
      {
        maxPendingBytes: MAX_PENDING_BYTES,
        oneFramePerWrite: false,
        ownBatches: true,
        writeTimeoutMs: WRITE_TIMEOUT_MS,
        clock,
      },
    );
    this.#pings = new Pings(clock, rttMs);
    this.#in = new EventsIn(this.#outlet, peer, context, (bytes) => connection.charge(bytes));
    this.#out = new EventsOut(this.#outlet, this.#in, peer, context, () => this.#pings.quickestMs);
    this.#calls = new Calls(clock);
    this.#bulk = new Bulk({
      send: (frame) => this.#say(frame, 'last') && this.#pieces.sent(frame.length, clock.nowMs()),
      prove: () => this.#ping('last'),
    });
    this.#life = new Life(clock, {
      owedSinceMs: () => earliest(this.#out.owedSinceMs, this.#calls.waitingSinceMs, this.#pings.waitingSinceMs),
      patienceMs: () => 4 * this.#pings.rttMs + 2 * this.#out.delayMs,
      quietMs: () => this.#quietMs(),
      ping: () => this.#ping('first'),
      suspect: () => peer.suspected(true),
      recovered: () => peer.suspected(false),
      survived: (quietMs) => this.#survived(quietMs),
      dead: (quietMs) => this.#dead(quietMs),
    });
    this.#keepTcpAlive();
  }

  /** The hub knows: from here on frames are taken. `hello`: the far end's, if it came with one. `kept`: see Hello.kept. */
  begin(port: SessionPort, hello: Hello | undefined, kept: boolean, ourHello: (kept: boolean) => Hello): void {
    this.#port = port;
    this.#out.port = port;
    this.#in.port = port;
    port.rtt(this.#pings.rttMs);
    this.#connection.handTo(this);
    if (this.role === 'server') {
      if (hello) this.#guarded(() => this.#greetedBack(hello, kept));
    } else if (hello) {
      this.hello = hello;
      this.#receiveFrom(hello.epoch, kept);
      if (acknowledges(hello)) this.#in.number(skillsOf(hello));
      // Until the server has said how far our records came.
      this.#out.hold();
      this.#say(portalFrame(FRAME.response, responseBody({ status: 200, hello: ourHello(kept) })), 'last');
    } else this.#confirmed = true;
  }

  get acknowledges(): boolean {
    return this.#out.acknowledges;
  }

  /** A relay of ours learns of units by their positions. */
  get meets(): boolean {
    return this.hello !== undefined;
  }

  get over(): boolean {
    return this.#ended;
  }

  get confirmed(): boolean {
    return this.#confirmed;
  }

  get rttMs(): number {
    return this.#pings.rttMs;
  }

  /** Monotonic time of the last sign of life. */
  get heardMs(): number {
    return this.#life.heardMs;
  }

  /** How much the far end's clock is ahead of ours, milliseconds; undefined: not known. */
  get clockOffsetMs(): number | undefined {
    return this.#pings.clockOffsetMs;
  }

  get goodputBps(): number | undefined {
    return this.#peer.window.goodputBps;
  }

  get transitMs(): number | undefined {
    return this.#out.acknowledges ? this.#peer.window.transitMs(this.#pings.quickestMs) : undefined;
  }

  get sentBytes(): number {
    return this.#outlet.sentBytes;
  }

  // --- what the hub asks ---------------------------------------------------------------------------------------------

  carries(_message: Message): boolean {
    return true;
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    if (this.#ended) return false;
    const owed = this.#out.owedSinceMs !== undefined;
    const taken = this.#out.send(envelope, groups);
    if (!owed && this.#out.owedSinceMs !== undefined) this.#life.look();
    return taken;
  }

  close(reason: CloseReason, cause?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#life.stop();
    this.#calls.close();
    this.#bulk.close();
    this.#abandon.abort();
    const lastWord = this.#in.close();
    const returned = this.#out.close();
    if (POLITE.has(reason)) this.#connection.end(lastWord);
    else this.#connection.destroy();
    this.#port?.closed(reason, cause, returned);
    this.#peer.ended(this, reason, cause);
  }

  // --- requests ------------------------------------------------------------------------------------------------------

  /** Resolves with the peer's answer, or one of ours: 502, 503, 504. Never rejects. */
  request(request: NodeRequest, signal: AbortSignal, timeoutMs = REQUEST_MS): Promise<NodeResponse> {
    if (this.#ended) return Promise.resolve(NOT_CONNECTED);
    const answer = this.#calls.make(
      (id) => {
        const body = requestBody({ ...request, id, hops: request.hops + 1 });
        if (!this.#bulk.push([portalFrame(FRAME.request, body)].values())) this.#calls.answered(busy(id));
      },
      signal,
      timeoutMs,
    );
    this.#life.look();
    return answer;
  }

  #requested(body: Buffer): void {
    const request = readRequest(body);
    if (request.id === 0) throw new ProtocolError('request_id', 'a request numbered 0');
    const refusal = refusalOf(request) ?? (request.hops > MAX_REQUEST_HOPS ? TOO_FAR : undefined);
    if (refusal) return this.#respond(request.id, problemResponse(refusal.status, refusal.code, refusal.words));
    if (this.#peer.work.submit(() => this.#work(request))) return;
    this.#respond(request.id, problemResponse(429, 'too_many_requests', 'too many requests of yours wait already'));
  }

  async #work(request: PortalRequest): Promise<void> {
    if (this.#ended) return;
    const { id, ...asked } = request;
    const response = await this.#answer(asked);
    if (!this.#ended) await this.#bulk.push(responseFrames(id, response, () => this.#pieceBytes));
  }

  /** The handler's answer, or one of ours when it takes too long. */
  #answer(request: NodeRequest): Promise<NodeResponse> {
    const giveUp = new AbortController();
    return new Promise((resolve) => {
      const settle = (response: NodeResponse) => {
        cancel();
        this.#abandon.signal.removeEventListener('abort', abandon);
        giveUp.abort();
        resolve(response);
      };
      const abandon = () => settle(NOT_CONNECTED);
      const cancel = this.#context.clock.after(REQUEST_MS, () => settle(TOO_SLOW));
      this.#abandon.signal.addEventListener('abort', abandon);
      this.#asked(request, giveUp.signal).then(settle, (error) => {
        this.#context.log.error({ err: error, path: request.path }, 'a request could not be answered');
        settle(problemResponse(500, 'internal_error', 'a fault in this relay; its log has the details'));
      });
    });
  }

  async #asked(request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    return this.#peer.answer(request, signal);
  }

  /** Not waited for: what refuses costs the peer no worker. */
  #respond(id: number, response: NodeResponse): void {
    void this.#bulk.push(responseFrames(id, response, () => this.#pieceBytes));
  }

  get #pieceBytes(): number {
    return this.#pieces.next(this.#port?.pace().recordBytes ?? PIECE_BYTES);
  }

  // --- frames --------------------------------------------------------------------------------------------------------

  heard(): void {
    if (this.#ended) return;
    const quietMs = this.#context.clock.nowMs() - this.#life.heardMs;
    this.#longestQuietMs = Math.max(this.#longestQuietMs, Math.min(quietMs, MAX_KEEPALIVE_MS));
    this.#peer.heard();
    this.#life.heard();
  }

  frame(type: FrameType, body: Buffer): void {
    if (this.#ended) return;
    this.#confirmed = true;
    switch (type) {
      case FRAME.event:
        return this.#acknowledged(this.#in.events(body));
      case FRAME.ping:
        return this.#pinged(body);
      case FRAME.pong:
        return this.#ponged(readPing(body));
      case FRAME.request:
        return this.#requested(body);
      case FRAME.response:
        return this.#responded(body);
      default:
        throw new ProtocolError('bad_greeting', `frame type ${type} after the handshake`);
    }
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.failed(error);
    }
  }

  failed(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error));
    const { log } = this.#context;
    if (cause instanceof ProtocolError) {
      log.warn({ peer: this.#peer.name, code: cause.code, reason: cause.message }, 'the peer broke the protocol');
      return this.close('protocol_error', cause);
    }
    log.error({ peer: this.#peer.name, err: cause }, 'a fault of our own ended a session');
    this.close('internal_error', cause);
  }

  gone(loss: LinkError | undefined): void {
    this.close(loss ? 'network_error' : 'remote_closed', loss);
  }

  #responded(body: Buffer): void {
    const response = readResponse(body);
    if (response.id !== 0) return this.#calls.answered(response);
    if (response.status !== 200) {
      const { status, body } = response;
      return this.close('remote_closed', refusedBy(status, plainText(body), this.address, this.#ourPin));
    }
    if (this.role === 'server' && response.hello && !this.hello) this.#greetedBack(response.hello, false);
  }

  /** Server: the client's Hello. Says how far its records came; ours go on behind what it has. */
  #greetedBack(hello: Hello, kept: boolean): void {
    const { ledger } = this.#peer;
    this.hello = hello;
    const knowsUs = hello.resumeEpoch === ledger.epoch;
    this.#receiveFrom(hello.epoch, kept);
    if (acknowledges(hello)) this.#in.number(skillsOf(hello));
    this.#out.number(skillsOf(hello), knowsUs ? hello.resumeId : 0, knowsUs && hello.kept);
    const confirm = { wallUs: this.#wallUs(), acked: ledger.received, credit: CREDIT_BYTES, kept };
    this.#say(portalFrame(FRAME.pong, pingBody(confirm)), 'first');
  }

  /** Numbers of this epoch follow. Another one than before: it has forgotten what it told us, or we have. */
  #receiveFrom(epoch: number, kept: boolean): void {
    const { ledger } = this.#peer;
    const isSame = ledger.theirEpoch === epoch;
    ledger.receiveFrom(epoch);
    if (!isSame || !kept) this.#port?.tellsAnew();
  }

  #acknowledged(id: number): void {
    if (this.#out.held) return;
    this.#out.acknowledged(id);
  }

  // --- signs of life -------------------------------------------------------------------------------------------------

  #pinged(body: Buffer): void {
    if (body.length === 0) return void this.#say(portalFrame(FRAME.pong), 'first');
    const ping = readPing(body);
    this.#taken(ping);
    const { seq, sentUs } = ping;
    this.#say(portalFrame(FRAME.pong, pingBody({ seq, sentUs, wallUs: this.#wallUs(), ...this.#standing() })), 'first');
  }

  #ponged(pong: PortalPing): void {
    if (this.#out.held && this.hello) {
      // The server's answer to our Hello.
      this.#pings.greeted(pong, this.#context.clock.wallMs());
      this.#out.number(skillsOf(this.hello), pong.acked, pong.kept);
      if (pong.credit > 0) this.#peer.window.credit(pong.credit);
      return this.#port?.writable();
    }
    this.#taken(pong);
    const found = this.#pings.answered(pong, this.#context.clock.wallMs());
    if (found === 'proof') {
      this.#pieces.proven(this.#context.clock.nowMs(), this.#pings.quickestMs);
      this.#bulk.arrived();
    } else if (found === 'measured') this.#port?.rtt(this.#pings.rttMs);
  }

  /** What Ping and Pong say by the way. */
  #taken({ acked, credit }: PortalPing): void {
    if (!this.hello) return;
    if (credit > 0) this.#peer.window.credit(credit);
    this.#acknowledged(acked);
  }

  #standing(): Partial<PortalPing> {
    if (!this.#in.numbered) return {};
    return { acked: this.#in.said(), credit: CREDIT_BYTES };
  }

  /** 'first': to learn whether it lives; 'last': to learn when what was sent before has arrived. */
  #ping(place: 'first' | 'last'): boolean {
    const seq = this.#pings.nextSeq;
    const body = this.hello ? pingBody({ seq, sentUs: this.#wallUs(), ...this.#standing() }) : undefined;
    if (!this.#say(portalFrame(FRAME.ping, body), place)) return false;
    this.#pings.sent(place === 'last');
    return true;
  }

  #wallUs(): number {
    return Math.round(this.#context.clock.wallMs() * 1000);
  }

  /** Keeping the way open is the part of the side that dialled; the other asks when that seems to have failed. */
  #quietMs(): number {
    return this.role === 'client' ? this.#keepalive.intervalMs : 2 * this.#longestQuietMs;
  }

  #survived(quietMs: number): void {
    if (this.role !== 'client') return;
    this.#keepalive.survived(quietMs);
    this.#keepTcpAlive();
  }

  #dead(quietMs: number): void {
    if (this.role === 'client') this.#keepalive.died(quietMs);
    this.close('idle_timeout');
  }

  #keepTcpAlive(): void {
    this.#connection.secured.socket.setKeepAlive(true, this.#quietMs() + TCP_KEEPALIVE_EXTRA_MS);
  }

  #say(frame: Buffer, place: 'first' | 'last'): boolean {
    if (place === 'last') this.#out.flushed();
    return this.#outlet.control(frame, place);
  }
}

/** The first piece has status and headers; all but the last say that more follows. */
function* responseFrames(
  id: number,
  { status, headers, body }: NodeResponse,
  size: () => number,
): Generator<Buffer, undefined> {
  for (let at = 0; at === 0 || at < body.length; ) {
    const end = at + size();
    const piece = { id, status, headers: at === 0 ? headers : {}, body: body.subarray(at, end) };
    yield portalFrame(FRAME.response, responseBody({ ...piece, more: end < body.length }));
    at = end;
  }
  return undefined;
}

function busy(id: number) {
  const body = problemResponse(503, 'busy', 'too much waits to be sent to this peer');
  return { id, ...body, more: false, hello: undefined };
}

const NOT_CONNECTED = problemResponse(502, 'not_connected', 'the peer is not connected');
const TOO_SLOW = problemResponse(504, 'too_slow', `no answer could be found within ${REQUEST_MS / 1000} s`);
const TOO_FAR = { status: 508, code: 'too_far', words: `a request passes at most ${MAX_REQUEST_HOPS} relays` };

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length > 0 ? Math.min(...known) : undefined;
}
