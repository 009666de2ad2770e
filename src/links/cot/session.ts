// One CoT stream connection: bytes in, events out, and back. Which end we are is the role's business (client.ts, server.ts).
import type { Socket } from 'node:net';
import type { CotEvent, Envelope, Message, Wire } from '../../core/message.ts';
import { flowTagName } from '../../core/policy.ts';
import type { CloseReason } from '../../core/reason.ts';
import type { PeerIdentity, PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { onAbort } from '../../lib/abort.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import { kept } from '../../lib/kept.ts';
import { CotFramer, type FrameKind, isControl, isLeave, scanCot } from '../../wire/cot.ts';
import { isOffer } from '../../wire/package.ts';
import { varintLength } from '../../wire/proto.ts';
import { frameTak, scanTak, TakFramer, takFromXml } from '../../wire/tak.ts';
import { DEFAULT_INTAKE, guardIntake } from '../intake.ts';
import type { LinkContext } from '../link.ts';
import { Outlet } from '../outlet.ts';
import { type Encoding, encodeFor } from './encode.ts';
import {
  GOODBYE_MS,
  MAX_CONTROL_BYTES,
  MAX_MALFORMED_RUN,
  MAX_PENDING_BYTES,
  TAK_HEAD_BYTES,
  WRITE_TIMEOUT_MS,
} from './limits.ts';
import { explainLoss } from './loss.ts';

/** What one end of the stream does that the other does not. */
export interface Role {
  /** The connection is up: what is said before anything else. */
  begin(): void;
  /** Credentials came. */
  auth(frame: Buffer): void;
  /** A message of the streaming protocol itself came: t-x-c-*, t-x-takp-*. Throws ProtocolError. */
  control(event: CotEvent, frame: Buffer): void;
  /** An event came. False: it may not be delivered, and the connection was closed for it. */
  admits(event: CotEvent): boolean;
  /** Nothing was heard for so long. Returns the silence after which to ask again. */
  silent(silentMs: number): number;
  /** The connection is over. */
  end(): void;
}

export interface SessionOptions {
  readonly socket: Socket;
  readonly identity: PeerIdentity;
  readonly address: string;
  /** The tunnel it goes through. */
  readonly via?: string | undefined;
  /** The part the far end plays. */
  readonly peer: 'client' | 'server';
  readonly spec: (identity: PeerIdentity) => PeerSpec;
  /** Who is told that the connection is up, and gives it its port. Default: the hub. */
  readonly attach?: (spec: PeerSpec, session: Session) => SessionPort;
  readonly maxEventBytes: number;
  /** Largest frame the peer can take, by format. */
  readonly maxFrameBytes: { readonly xml: number; readonly tak: number };
  readonly oneFramePerWrite: boolean;
  readonly flowTag: boolean;
  /** Events leave without an XML declaration. */
  readonly undeclared?: boolean;
  readonly idleMs: number;
}

/** How the connection ended; `cause` has the words. */
export interface Ending {
  readonly reason: CloseReason;
  readonly cause: Error | undefined;
  /** Whether the far end ever said anything. */
  readonly heard: boolean;
}

/** Begin of the types of messages that change the format. */
const NEGOTIATION = 't-x-takp-';

/** Reasons that leave the peer a moment to end politely; after any other the socket is destroyed at once. */
const POLITE: ReadonlySet<CloseReason> = new Set(['shutdown', 'config_changed', 'replaced', 'peer_limit']);

export class CotSession implements Session {
  readonly address: string;
  readonly via: string | undefined;
  readonly federated = false;
  /** Resolves when the socket is closed. */
  readonly closed: Promise<Ending>;
  readonly #options: SessionOptions;
  readonly #context: LinkContext;
  readonly #socket: Socket;
  readonly #role: Role;
  readonly #outlet: Outlet;
  #identity: PeerIdentity;
  #port: SessionPort | undefined;
  #ending: Ending | undefined;

  // Reading
  #framer: CotFramer | TakFramer;
  readonly #takeIn: (bytes: number) => void;
  #malformedRun = 0;
  #heard = false;
  #heardMs: number;
  #cancelLifeCheck = () => {};

  // Writing
  #encoding: Encoding;
  /** The peer must not be sent anything for now. */
  #held = false;
  /** A frame waits that nothing may overtake: the one after which the format changes. */
  #barrier = false;

  constructor(options: SessionOptions, makeRole: (session: CotSession) => Role, context: LinkContext) {
    const { socket, maxEventBytes, oneFramePerWrite } = options;
    this.#options = options;
    this.#context = context;
    this.#socket = socket;
    this.#identity = options.identity;
    this.address = options.address;
    this.via = options.via;
    this.#framer = new CotFramer({ maxBytes: maxEventBytes });
    this.#takeIn = guardIntake(socket, DEFAULT_INTAKE, context.clock);
    this.#heardMs = context.clock.nowMs();
    const flowTag = options.flowTag ? flowTagName(context.node.id) : '';
    this.#encoding = { format: 'xml', flowTag, undeclared: options.undeclared ?? false };
    this.#outlet = new Outlet(
      (bytes, done) => socket.write(bytes, done),
      { writable: () => this.#offerRoom(), stuck: () => this.close('write_timeout') },
      {
        maxPendingBytes: MAX_PENDING_BYTES,
        oneFramePerWrite,
        writeTimeoutMs: WRITE_TIMEOUT_MS,
        clock: context.clock,
      },
    );
    this.#role = makeRole(this);
    this.closed = this.#watchSocket();
  }

  get identity(): PeerIdentity {
    return this.#identity;
  }

  /** Starts reading; the role says when the hub may know. */
  begin(): void {
    const stopListening = onAbort(this.#context.signal, () => this.close('shutdown'));
    this.#socket.once('close', stopListening);
    if (this.#ending) return;
    this.#role.begin();
    this.#checkLife(0);
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  /** Tells the hub. `identity`, when the peer has proved a better one than it came with. */
  attach(identity: PeerIdentity = this.#identity): SessionPort {
    this.#identity = identity;
    const spec = this.#options.spec(identity);
    this.#port = this.#options.attach?.(spec, this) ?? this.#context.hub.attach(spec, this);
    // The hub may have closed us before it could hand out the port.
    if (this.#ending) this.#port.closed(this.#ending.reason, this.#ending.cause, this.#outlet.close());
    return this.#port;
  }

  get attached(): boolean {
    return this.#port !== undefined;
  }

  get sentBytes(): number {
    return this.#outlet.sentBytes;
  }

  get busy(): boolean {
    return this.#outlet.busy;
  }

  /** What the peer calls itself. */
  name(callsign: string): void {
    this.#port?.named(callsign);
  }

  rtt(ms: number): void {
    this.#port?.rtt(ms);
  }

  // --- reading -------------------------------------------------------------------------------------------------------

  #read(chunk: Buffer): void {
    if (this.#ending) return;
    this.#heard = true;
    this.#heardMs = this.#context.clock.nowMs();
    this.#takeIn(chunk.length);
    try {
      this.#cut(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Where the format may change within a chunk it is cut behind each `>`, as every XML frame ends in one. */
  #cut(chunk: Buffer): void {
    let at = 0;
    const mayChange = this.#held || chunk.includes(NEGOTIATION);
    while (mayChange && at < chunk.length && this.#framer instanceof CotFramer) {
      const behind = chunk.indexOf('>', at) + 1 || chunk.length;
      this.#framer.push(chunk.subarray(at, behind), this.#frame);
      at = behind;
    }
    if (at < chunk.length) this.#framer.push(at === 0 ? chunk : chunk.subarray(at), this.#frame);
  }

  #frame = (frame: Buffer, kind?: FrameKind): void => {
    if (this.#ending) return;
    if (kind === 'auth') return this.#role.auth(frame);
    let event: CotEvent;
    try {
      event = kind ? scanCot(frame) : scanTak(frame);
      this.#malformedRun = 0;
      if (isControl(event.type)) return this.#control(event, frame);
    } catch (error) {
      return this.#malformed(error, frame.length);
    }
    if (!this.#role.admits(event)) return;
    if (kind) this.#deliver(event, { format: 'xml', bytes: frame }, frame.length);
    else this.#deliver(event, { format: 'tak', bytes: frame }, 1 + varintLength(frame.length) + frame.length);
  };

  #control(event: CotEvent, frame: Buffer): void {
    if (frame.length > MAX_CONTROL_BYTES) throw new ProtocolError('large_control', 'control message too large');
    this.#role.control(event, frame);
  }

  #deliver(event: CotEvent, { format, bytes }: Wire, size: number): void {
    if (!isLeave(event, bytes)) {
      return this.#port?.deliver({ message: { kind: 'event', event }, wire: { format, bytes: kept(bytes) }, size });
    }
    if (event.linkUid === '') return this.#port?.refused('malformed', size);
    const contact = { uid: event.linkUid, callsign: event.callsign };
    this.#port?.deliver({ message: { kind: 'contact', op: 'delete', contact }, size });
  }

  /** One bad event is counted and passed over: the framing still holds. */
  #malformed(error: unknown, size: number): void {
    if (!(error instanceof ProtocolError)) throw error;
    this.#port?.refused('malformed', size);
    this.#context.log.debug({ peer: this.address, code: error.code, size }, 'event refused');
    if (++this.#malformedRun < MAX_MALFORMED_RUN) return;
    const words = `${MAX_MALFORMED_RUN} messages in a row could not be read; the last: ${error.message}`;
    throw new ProtocolError('malformed_run', words);
  }

  #fail(error: unknown): void {
    if (!(error instanceof ProtocolError)) {
      this.#context.log.error({ err: error, peer: this.address }, 'fault while reading');
      return this.close('internal_error', error instanceof Error ? error : new Error(String(error)));
    }
    if (error.code === 'too_large') this.#port?.refused('too_large', this.#options.maxEventBytes);
    this.close('protocol_error', error);
  }

  // --- writing -------------------------------------------------------------------------------------------------------

  carries(message: Message): boolean {
    if (message.kind === 'contact') return message.op === 'delete';
    return message.kind === 'event' && !isControl(message.event.type);
  }

  send(envelope: Envelope): boolean {
    if (this.#ending || this.#held) return false;
    const frame = this.#encode(envelope);
    if (frame && frame.length <= this.#limit) return this.#outlet.push(frame, envelope);
    this.#port?.undeliverable(frame ? 'too_large' : 'malformed', envelope);
    return true;
  }

  /** undefined: what another link let in cannot be written here. Not to happen, and no reason to fail the sender. */
  #encode(envelope: Envelope): Buffer | undefined {
    try {
      const isLocal = isOffer(envelope.message) && this.#context.files;
      const local = isLocal ? isLocal.localize(envelope, this.#socket) : envelope;
      return encodeFor(local, this.#encoding, this.#context.clock.wallMs());
    } catch (error) {
      this.#context.log.error({ err: error, from: envelope.from }, 'message could not be encoded');
      return undefined;
    }
  }

  get #limit(): number {
    const { maxFrameBytes, maxEventBytes } = this.#options;
    return this.#encoding.format === 'xml'
      ? Math.min(maxFrameBytes.xml, maxEventBytes)
      : Math.min(maxFrameBytes.tak, maxEventBytes + TAK_HEAD_BYTES);
  }

  /** Says something of the link's own, in the format of the moment; 'first': ahead of all that waits, where that is safe. */
  say(xml: Buffer, place: 'first' | 'last'): void {
    const frame = this.#encoding.format === 'xml' ? xml : frameTak(takFromXml(xml, scanCot(xml)));
    if (this.#outlet.pendingBytes === 0) this.#barrier = false;
    this.#outlet.control(frame, this.#barrier ? 'last' : place);
  }

  /** Until release() nothing is taken from the hub. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#port?.writable();
  }

  /** From the next frame on TAK protocol 1, both ways. What waits goes out as it was encoded. */
  speakTak(): void {
    this.#encoding = { ...this.#encoding, format: 'tak' };
    this.#framer = new TakFramer({ maxBytes: this.#options.maxEventBytes });
    this.#barrier = true;
  }

  #offerRoom(): void {
    if (!this.#held) this.#port?.writable();
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  close(reason: CloseReason, cause?: Error): void {
    if (this.#ending) return;
    this.#ending = { reason, cause, heard: this.#heard };
    this.#cancelLifeCheck();
    this.#role.end();
    const returned = this.#outlet.close();
    if (POLITE.has(reason)) this.#endPolitely();
    else this.#socket.destroy();
    this.#port?.closed(reason, cause, returned);
  }

  #endPolitely(): void {
    this.#socket.end();
    this.#socket.resume();
    const cancel = this.#context.clock.after(GOODBYE_MS, () => this.#socket.destroy());
    this.#socket.once('close', cancel);
  }

  #watchSocket(): Promise<Ending> {
    const { peer, address } = this.#options;
    let loss: LinkError | undefined;
    this.#socket.on('error', (error) => {
      // A LinkError is our own word: whoever connected by a certificate is not trusted any more (stream.ts).
      if (error instanceof LinkError) return this.close('revoked', error);
      loss ??= explainLoss(error, peer, address);
    });
    this.#socket.on('end', () => this.close('remote_closed'));
    return new Promise((resolve) => {
      this.#socket.on('close', () => {
        this.close(loss ? 'network_error' : 'remote_closed', loss);
        resolve(this.#ending!);
      });
    });
  }

  #checkLife(silentMs: number): void {
    if (this.#ending) return;
    const { idleMs } = this.#options;
    if (silentMs >= idleMs) return this.close('idle_timeout');
    const nextMs = Math.min(idleMs, this.#role.silent(silentMs));
    this.#cancelLifeCheck = this.#context.clock.after(nextMs - silentMs, () => {
      this.#checkLife(this.#context.clock.nowMs() - this.#heardMs);
    });
  }
}
