// One connection with a v1 federate, whoever dialled: length and FederatedEvent, both ways, and nothing else.
import type { TLSSocket } from 'node:tls';
import { CHAT, type Envelope, type Message } from '../../core/message.ts';
import { paceOf } from '../../core/pace.ts';
import type { CloseReason, DropReason } from '../../core/reason.ts';
import type { PeerIdentity, PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { type LinkError, ProtocolError } from '../../lib/errors.ts';
import { relocated } from '../../wire/encode.ts';
import { isOffer } from '../../wire/package.ts';
import { deliverFederated, isFederatedEvent } from '../federated.ts';
import { FrameCutter, type FrameHead } from '../frames.ts';
import { DEFAULT_INTAKE, guardIntake } from '../intake.ts';
import type { LinkContext } from '../link.ts';
import { Outlet } from '../outlet.ts';
import { Packages } from '../packages.ts';
import { explainSocketError, peerAddress } from '../stream.ts';
import type { Dialect, Profile } from './dialect.ts';
import { bringFile, type FilesAt } from './files.ts';
import { FRAME_HEAD_BYTES, GOODBYE_MS, MAX_PENDING_BYTES, STALLED_FRAME_MS, WRITE_TIMEOUT_MS } from './limits.ts';

export interface SessionOptions {
  readonly context: LinkContext;
  readonly spec: PeerSpec;
  readonly identity: PeerIdentity;
  readonly socket: TLSSocket;
  /** The part the far end plays in TLS. */
  readonly peer: 'client' | 'server';
  readonly profile: Profile;
  readonly dialect: Dialect;
  readonly maxMessageBytes: number;
  /** Where the peer takes files; undefined: nowhere, and announcements go as they came. */
  readonly filesAt: Pick<FilesAt, 'address' | 'tls'> | undefined;
  /** Through a tunnel: what was dialled, for the socket knows only the hub. */
  readonly tunnelled?: { readonly address: string; readonly via: string } | undefined;
  /** The first bytes came. */
  readonly onHeard?: (() => void) | undefined;
  /** Called once, when the socket is closed as well. */
  readonly onClosed: (reason: CloseReason, cause: Error | undefined) => void;
}

/** Reasons that leave the peer a moment to end politely; after any other the socket is destroyed at once. */
const POLITE: ReadonlySet<CloseReason> = new Set(['shutdown', 'config_changed', 'replaced', 'peer_limit']);

export class LegacySession implements Session {
  readonly identity: PeerIdentity;
  readonly address: string;
  readonly via: string | undefined;
  /** It stamps nothing itself, but it hands on: the step to it is a hop. */
  readonly federated = true;
  readonly #options: SessionOptions;
  readonly #outlet: Outlet;
  readonly #cutter: FrameCutter;
  #state: 'opening' | 'attached' | 'closed' = 'opening';
  #port: SessionPort | undefined;
  #error: Error | undefined;

  // Reading
  #heard = false;
  #chunks = 0;
  #malformedRun = 0;
  #cancelStallCheck: (() => void) | undefined;

  // Writing
  /** A contact that waits, for the rest of this turn, for its position to go with. */
  #announced: Envelope | undefined;
  readonly #packages: Packages | undefined;
  /** Takes the warning away that files cannot be brought. */
  #filesTrouble = () => {};

  constructor(options: SessionOptions) {
    const { context, socket, profile, tunnelled, identity } = options;
    this.#options = options;
    this.identity = identity;
    this.address = tunnelled?.address ?? peerAddress(socket);
    this.via = tunnelled?.via;
    this.#outlet = new Outlet(
      (bytes, done) => socket.write(bytes, done),
      { writable: () => this.#writable(), stuck: () => this.close('write_timeout') },
      {
        maxPendingBytes: MAX_PENDING_BYTES,
        oneFramePerWrite: profile.oneFramePerWrite,
        writeTimeoutMs: WRITE_TIMEOUT_MS,
        clock: context.clock,
      },
    );
    this.#cutter = new FrameCutter(headOf(profile.maxFrameBytes), this.#maxFrameBytes, {
      message: (payload) => this.#take(payload),
      oversize: (size) => this.#port?.refused('too_large', size),
    });
    this.#packages = this.#packagesTo(options);
    this.#watch(socket);
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** The hub was told of it, be it closed since. */
  get attached(): boolean {
    return this.#port !== undefined;
  }

  get sentBytes(): number {
    return this.#outlet.sentBytes;
  }

  get busy(): boolean {
    return this.#outlet.busy || this.#announced !== undefined;
  }

  /** Tells the hub. There is no handshake: a connection whose certificates are good is a federation. */
  attach(): void {
    if (this.#state !== 'opening') return;
    this.#state = 'attached';
    const { context, spec } = this.#options;
    this.#port = context.hub.attach(spec, this);
  }

  // --- out -----------------------------------------------------------------------------------------------------------

  carries(message: Message): boolean {
    return message.kind === 'contact' || (message.kind === 'event' && isFederatedEvent(message.event));
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    if (this.#state !== 'attached') return false;
    if (envelope.lane === CHAT && isOffer(envelope.message) && this.#packages) {
      return this.#packages.send(envelope, groups);
    }
    if (this.#mayJoin(envelope)) return this.#hold(envelope);
    const announced = this.#announced;
    this.#announced = undefined;
    if (announced && isPositionOf(announced, envelope)) {
      const both = this.#frame(envelope, groups, announced);
      if (typeof both !== 'string' && both.length <= this.#maxBytes) return this.#outlet.push(both, envelope);
    }
    if (announced) this.#say(announced, groups);
    return this.#say(envelope, groups);
  }

  /** `told`: what is said in place of the envelope. */
  #say(envelope: Envelope, groups: readonly string[], told = envelope): boolean {
    const frame = this.#frame(told, groups);
    if (typeof frame === 'string') this.#port?.undeliverable(frame, envelope);
    else if (frame.length <= this.#maxBytes) return this.#outlet.push(frame, envelope);
    else this.#port?.undeliverable('too_large', envelope);
    return true;
  }

  /** Where files go to this peer by HTTPS, and are announced behind that with their address there. */
  #packagesTo({ context, spec, filesAt }: SessionOptions): Packages | undefined {
    const { files, log } = context;
    if (!files || !filesAt) return undefined;
    const pace = () => this.#port?.pace() ?? paceOf(undefined);
    return new Packages({
      log,
      whole: (envelope, signal) => files.whole(envelope, spec, Number.MAX_SAFE_INTEGER, signal),
      bring: (file, _envelope, _groups, signal) =>
        bringFile(file, { ...filesAt, context, signal, pace }).then(
          (url) => {
            this.#filesTrouble();
            this.#filesTrouble = () => {};
            return { url };
          },
          (error: LinkError) => {
            this.#filesTrouble();
            const { code, message, fix } = error;
            const words = `a file could not be brought to ${this.identity.name}: ${message}`;
            this.#filesTrouble = signal.aborted ? () => {} : context.warn({ code, words, fix });
            return 'unsupported';
          },
        ),
      goesWithout: () => true,
      announce: (envelope, groups, url) => this.#say(envelope, groups, url ? relocated(envelope, url) : envelope),
      undeliverable: (reason, envelope) => this.#port?.undeliverable(reason, envelope),
    });
  }

  /** Only while half of what may wait is free: then the two of them will find room. */
  #mayJoin({ message }: Envelope): boolean {
    if (!this.#options.profile.joinsContacts || message.kind !== 'contact' || message.op === 'delete') return false;
    return this.#announced === undefined && this.#outlet.pendingBytes <= MAX_PENDING_BYTES / 2;
  }

  #hold(announced: Envelope): true {
    this.#announced = announced;
    // The hub says a position right after its contact; if none follows, it goes alone.
    setImmediate(() => {
      if (this.#announced !== announced || this.#state !== 'attached') return;
      this.#announced = undefined;
      this.#say(announced, []);
    });
    return true;
  }

  get #maxBytes(): number {
    const { profile, maxMessageBytes } = this.#options;
    return FRAME_HEAD_BYTES + Math.min(profile.maxBodyBytes ?? maxMessageBytes, maxMessageBytes);
  }

  /** Or why it cannot be sent. */
  #frame(envelope: Envelope, groups: readonly string[], announced?: Envelope): Buffer | DropReason {
    try {
      const body = this.#options.dialect.encode(envelope, groups, announced);
      return typeof body === 'string' ? body : framed(body);
    } catch (error) {
      // Not the fault of whoever sent it just now: his session must not end for it.
      this.#options.context.log.error({ err: error, kind: envelope.message.kind }, 'could not encode a message');
      return 'unsupported';
    }
  }

  #writable(): void {
    this.#packages?.writable();
    this.#port?.writable();
  }

  // --- in ------------------------------------------------------------------------------------------------------------

  get #maxFrameBytes(): number {
    return Math.min(this.#options.profile.maxFrameBytes, this.#options.maxMessageBytes);
  }

  #read(chunk: Buffer, take: (bytes: number) => void): void {
    if (this.closed) return;
    this.#chunks++;
    take(chunk.length);
    if (!this.#heard) {
      this.#heard = true;
      this.#options.onHeard?.();
    }
    try {
      this.#cutter.push(chunk);
    } catch (error) {
      return this.fail(error);
    }
    if (this.#cutter.partial) this.#checkStall();
  }

  #take(payload: Buffer): void {
    const port = this.#port;
    if (!port || this.closed || payload.length === 0) return;
    const size = FRAME_HEAD_BYTES + payload.length;
    const scan = this.#meant(payload, size, port);
    if (scan) {
      this.#malformedRun = 0;
      this.#options.dialect.heard(scan);
    } else if (++this.#malformedRun >= this.#options.profile.maxMalformedRun) {
      throw new ProtocolError('malformed_run', `${this.#malformedRun} messages in a row could not be read`);
    }
  }

  #meant(payload: Buffer, size: number, port: SessionPort) {
    let meant: Buffer;
    try {
      meant = this.#options.dialect.read(payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      port.refused('malformed', size);
      return undefined;
    }
    return deliverFederated(meant, size, port);
  }

  /** A message that stays unfinished: a sender that lost count, or one that wants to be waited for. */
  #checkStall(): void {
    if (this.#cancelStallCheck) return;
    const chunks = this.#chunks;
    this.#cancelStallCheck = this.#options.context.clock.after(STALLED_FRAME_MS, () => {
      this.#cancelStallCheck = undefined;
      if (this.closed || !this.#cutter.partial) return;
      if (this.#chunks > chunks) return this.#checkStall();
      const words = `a message was begun and not continued for ${STALLED_FRAME_MS / 1000} s`;
      this.fail(new ProtocolError('stalled_frame', words));
    });
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  #watch(socket: TLSSocket): void {
    const take = guardIntake(socket, DEFAULT_INTAKE, this.#options.context.clock);
    socket.on('data', (chunk: Buffer) => this.#read(chunk, take));
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('end', () => this.close('remote_closed'));
    socket.once('close', () => {
      if (!this.#error) return this.close('remote_closed');
      this.close('network_error', explainSocketError(this.#error, this.#options.peer, this.address));
    });
  }

  /** What was thrown while reading: the peer's breach, or our own fault. Both end the session. */
  fail(error: unknown): void {
    if (this.closed) return;
    const cause = error instanceof Error ? error : new Error(String(error));
    const { log } = this.#options.context;
    if (cause instanceof ProtocolError) {
      log.warn({ peer: this.address, code: cause.code, reason: cause.message }, 'the peer broke the protocol');
      return this.close('protocol_error', cause);
    }
    log.error({ peer: this.address, err: cause }, 'a fault of our own ended a session');
    this.close('internal_error', cause);
  }

  close(reason: CloseReason, cause?: Error): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cutter.stop();
    this.#cancelStallCheck?.();
    const { socket, onClosed } = this.#options;
    const waiting = this.#packages?.close() ?? [];
    this.#filesTrouble();
    const returned = [...this.#outlet.close(), ...(this.#announced ? [this.#announced] : []), ...waiting];
    this.#announced = undefined;
    if (socket.closed) onClosed(reason, cause);
    else socket.once('close', () => onClosed(reason, cause));
    if (POLITE.has(reason)) this.#endPolitely(socket);
    else socket.destroy();
    this.#port?.closed(reason, cause, returned);
  }

  #endPolitely(socket: TLSSocket): void {
    socket.end();
    socket.resume();
    const cancel = this.#options.context.clock.after(GOODBYE_MS, () => socket.destroy());
    socket.once('close', cancel);
  }
}

function framed(body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + body.length);
  frame.writeUInt32BE(body.length);
  body.copy(frame, FRAME_HEAD_BYTES);
  return frame;
}

function headOf(maxFrameBytes: number): FrameHead {
  return {
    bytes: FRAME_HEAD_BYTES,
    lengthOf(bytes, at) {
      const length = bytes.readUInt32BE(at);
      if (length <= maxFrameBytes) return length;
      throw new ProtocolError('frame_length', `a message of ${length} bytes was announced${guess(bytes.subarray(at))}`);
    },
  };
}

/** What else begins like this, for people. */
function guess(bytes: Buffer): string {
  const start = bytes.toString('latin1', 0, FRAME_HEAD_BYTES);
  if (start === 'PRI ') return ': this is HTTP/2, so the peer means Federation v2';
  if (/^(GET|POST|PUT|HEAD)/.test(start)) return ': this is HTTP';
  return start.startsWith('<') ? ': this is XML, so the peer means a CoT stream' : '';
}

function isPositionOf({ message: notice }: Envelope, { message }: Envelope): boolean {
  return notice.kind === 'contact' && message.kind === 'event' && notice.contact.uid === message.event.uid;
}
