// One connection with a federate, whoever dialled: events, contacts and missions out and in, and its one end.
// The roles (client.ts, server.ts) open or accept the streams and hand them over here.
import type { Http2Session, Http2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { CHAT, type CotEvent, type Envelope, type Message, sizeOf } from '../../core/message.ts';
import { paceOf } from '../../core/pace.ts';
import type { CloseReason, DropReason } from '../../core/reason.ts';
import type { Pace, PeerIdentity, PeerSpec, Session, SessionPort } from '../../core/session.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { kept } from '../../lib/kept.ts';
import { asFederated, asRol, encodingOf, federated, fileRol, memo } from '../../wire/encode.ts';
import { scanRol, scanSubscription } from '../../wire/federation.ts';
import type { GroupHops } from '../../wire/federation-stamps.ts';
import { isOffer, messageOfRol, OFFER_TYPE } from '../../wire/package.ts';
import { contentDigest } from '../../wire/portal-record.ts';
import { deliverFederated, isFederatedEvent, scanned, stampsOf } from '../federated.ts';
import type { FrameEvents } from '../frames.ts';
import { groupsOnward } from '../group-hops.ts';
import { DEFAULT_INTAKE, guardIntake } from '../intake.ts';
import type { LinkContext } from '../link.ts';
import { Outlet, type Sink } from '../outlet.ts';
import { Packages } from '../packages.ts';
import { peerAddress } from '../stream.ts';
import { cancel, Deframer, FRAME_HEAD_BYTES, frame } from './grpc.ts';
import {
  CONNECTION_WINDOW_BYTES,
  MAX_CONTROL_BYTES,
  MAX_GROUPS,
  MAX_NAME_LENGTH,
  MAX_PENDING_BYTES,
  MAX_PENDING_ROL_BYTES,
  WRITE_TIMEOUT_MS,
} from './limits.ts';
import { inPieces, RolWay } from './rol-way.ts';

/** What the configuration says about a session. */
export interface SessionSettings {
  readonly maxMessageBytes: number;
  readonly maxRolBytes: number;
  /** Said of messages that carry no groups of their own. */
  readonly groups: readonly string[];
}

export interface SessionOptions {
  readonly context: LinkContext;
  readonly spec: PeerSpec;
  readonly identity: PeerIdentity;
  readonly http2: Http2Session;
  readonly socket: TLSSocket;
  readonly settings: SessionSettings;
  /** How far what goes out may travel. Asked for every message. */
  readonly hops: () => GroupHops | undefined;
  /** Through a tunnel: what was dialled, for the socket knows only the hub. */
  readonly tunnelled?: { readonly address: string; readonly via: string } | undefined;
  /** Called once, when the socket is closed as well. */
  readonly onClosed: (reason: CloseReason, cause: Error | undefined) => void;
}

export class FederateSession implements Session {
  readonly identity: PeerIdentity;
  readonly address: string;
  readonly via: string | undefined;
  readonly federated = true;
  readonly #options: SessionOptions;
  readonly #streams = new Set<Http2Stream>();
  readonly #deframers = new Set<Deframer>();
  #state: 'opening' | 'attached' | 'closed' = 'opening';
  #port: SessionPort | undefined;
  #events: Outlet | undefined;
  #rol: { readonly outlet: Outlet; readonly way: RolWay } | undefined;
  readonly #packages: Packages;
  /** Handed to streams that have closed. */
  #endedBytes = 0;
  /** Of files, which no outlet counts. */
  #fileBytes = 0;
  /** Streams with messages for the hub, read from the moment there is a hub to tell. Flow control holds them until then. */
  #unread: (() => void)[] = [];
  #chunks = 0;
  #saidName = '';
  #saidGroups: readonly string[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
    this.identity = options.identity;
    this.address = options.tunnelled?.address ?? peerAddress(options.socket);
    this.via = options.tunnelled?.via;
    this.#packages = this.#packagesOut();
    options.http2.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  get attached(): boolean {
    return this.#state === 'attached';
  }

  /** Chunks read so far on all streams: that the number grows is a sign of life. */
  get chunks(): number {
    return this.#chunks;
  }

  get sentBytes(): number {
    return this.#endedBytes + (this.#events?.sentBytes ?? 0) + (this.#rol?.outlet.sentBytes ?? 0) + this.#fileBytes;
  }

  get busy(): boolean {
    return Boolean(this.#events?.busy || this.#rol?.outlet.busy);
  }

  // --- what the hub asks ---------------------------------------------------------------------------------------------

  carries(message: Message): boolean {
    if (message.kind === 'event') return isSaid(message.event) || (isOffer(message) && this.#rol !== undefined);
    return message.kind === 'contact' || (message.kind === 'mission' && this.#rol !== undefined);
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    if (this.#state !== 'attached') return false;
    if (envelope.lane === CHAT && isOffer(envelope.message)) return this.#packages.send(envelope, groups);
    const isMission = envelope.message.kind === 'mission';
    if (!isMission) return this.#say(envelope, groups, this.#events, this.#options.settings.maxMessageBytes);
    const { maxRolBytes } = this.#options.settings;
    const taken = this.#say(envelope, groups, this.#rol?.outlet, maxRolBytes);
    if (taken && sizeOf(envelope) <= maxRolBytes) this.#packages.passed(envelope);
    return taken;
  }

  #say(envelope: Envelope, groups: readonly string[], outlet: Outlet | undefined, maxBytes: number): boolean {
    if (!outlet) return false;
    const framed = this.#frame(envelope, groups);
    if (typeof framed !== 'string' && framed.length <= maxBytes) return outlet.push(framed, envelope);
    this.#port?.undeliverable(typeof framed === 'string' ? framed : 'too_large', envelope);
    return true;
  }

  close(reason: CloseReason, cause?: Error): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    for (const deframer of this.#deframers) deframer.stop();
    const announced = this.#packages.close();
    const returned = [...(this.#events?.close() ?? []), ...(this.#rol?.outlet.close() ?? []), ...announced];
    this.#hangUp(() => this.#options.onClosed(reason, cause));
    this.#port?.closed(reason, cause, returned);
  }

  /** Cancel and destroy: TAK tidies up on nothing less, a half-close leaves it a zombie (tak-federation §2.6). */
  #hangUp(done: () => void): void {
    const { http2, socket } = this.#options;
    for (const stream of this.#streams) cancel(stream);
    if (socket.closed) done();
    else socket.once('close', done);
    // A turn later, so that every cancellation is on the wire.
    setImmediate(() => {
      http2.destroy();
      socket.destroy();
    });
  }

  // --- what the roles ask --------------------------------------------------------------------------------------------

  /** Every stream passes here first: it ends with the session, and its errors are heard. */
  adopt(stream: Http2Stream): void {
    this.#streams.add(stream);
    stream.on('error', ignore); // 'close' follows, and says what the role must know
    stream.once('close', () => this.#streamClosed(stream));
  }

  /** When node:http2 ends a connection by itself, it waits for a peer that may never read: not so here. */
  #streamClosed(stream: Http2Stream): void {
    const { http2, socket } = this.#options;
    this.#streams.delete(stream);
    if (http2.destroyed) setImmediate(() => socket.destroy());
  }

  /** Tells the hub. The way out for events must be open. */
  attach(): void {
    if (this.#state !== 'opening') return;
    this.#state = 'attached';
    const { context, spec } = this.#options;
    this.#port = context.hub.attach(spec, this);
    if (this.#saidName) this.#port.named(this.#saidName);
    if (this.#saidGroups.length > 0) this.#port.groups(this.#saidGroups);
    for (const read of this.#unread) read();
    this.#unread = [];
  }

  writeEvents(stream: Http2Stream): void {
    const outlet: Outlet = this.#outlet(
      inPieces(stream, () => outlet.progressed()),
      MAX_PENDING_BYTES,
    );
    this.#events = outlet;
  }

  /** Until it closes, missions can be said. It may be opened anew after that. */
  writeRol(stream: Http2Stream): void {
    const { clock } = this.#options.context;
    const stuck = () => this.close('write_timeout');
    const way = new RolWay(stream, { clock, pace: () => this.#pace(), progressed: () => outlet.progressed(), stuck });
    const outlet: Outlet = this.#outlet(way.sink, MAX_PENDING_ROL_BYTES, () => this.#packages.writable());
    this.#rol = { outlet, way };
    stream.once('close', () => {
      this.#endedBytes += outlet.sentBytes;
      if (this.#rol?.outlet === outlet) this.#rol = undefined;
      for (const envelope of outlet.close()) this.#port?.undeliverable('peer_gone', envelope);
    });
  }

  readEvents(stream: Http2Stream): void {
    this.#onceAttached(() => this.#read(stream, this.#options.settings.maxMessageBytes, this.#eventIn));
  }

  readRol(stream: Http2Stream): void {
    this.#onceAttached(() => this.#read(stream, this.#options.settings.maxRolBytes, this.#rolIn));
  }

  /** Small messages for the role itself: subscriptions, groups, health. */
  readControl(stream: Http2Stream, onMessage: (payload: Buffer) => void): void {
    this.#read(stream, MAX_CONTROL_BYTES, onMessage);
  }

  /** The peer said who it is, by Subscription. Its certificate has the last word. */
  introduced(payload: Buffer): void {
    const { name, type, serverId, version } = scanSubscription(payload);
    this.#options.context.log.debug(
      { peer: this.address, name, type, serverId, version },
      'federate introduced itself',
    );
    if (name === '' || name === this.#saidName) return;
    this.#saidName = name.slice(0, MAX_NAME_LENGTH);
    this.#port?.named(this.#saidName);
  }

  grouped(groups: readonly string[]): void {
    this.#saidGroups = groups.slice(0, MAX_GROUPS);
    this.#port?.groups(this.#saidGroups);
  }

  rtt(ms: number): void {
    this.#port?.rtt(ms);
  }

  /** What was thrown while reading: the peer's breach, or our own fault. Both end the session. */
  fail(error: unknown): void {
    if (this.#state === 'closed') return;
    const cause = error instanceof Error ? error : new Error(String(error));
    const { log } = this.#options.context;
    if (cause instanceof ProtocolError) {
      log.warn({ peer: this.address, code: cause.code, reason: cause.message }, 'the peer broke the protocol');
      return this.close('protocol_error', cause);
    }
    log.error({ peer: this.address, err: cause }, 'a fault of our own ended a session');
    this.close('internal_error', cause);
  }

  // --- out -----------------------------------------------------------------------------------------------------------

  /** The whole gRPC message, made once for all peers that may see the same groups; or why it cannot be sent. */
  #frame(envelope: Envelope, groups: readonly string[]): Buffer | DropReason {
    const hops = this.#options.hops();
    const shown = this.#shown(envelope, groups);
    if (hops) return this.#limited(envelope, shown, hops);
    // Shared only by those who see the same: a name of a group is not for everybody.
    if (shown !== envelope.groups) {
      const key = `grpc\n${shown.join('\n')}`;
      return encodingOf(envelope, key) ?? this.#encode(envelope, shown, key);
    }
    // One message goes to many peers in a row.
    if (last?.envelope !== envelope) {
      last = { envelope, framed: encodingOf(envelope, 'grpc') ?? this.#encode(envelope, shown, 'grpc') };
    }
    return last.framed;
  }

  #limited(envelope: Envelope, groups: readonly string[], hops: GroupHops): Buffer | DropReason {
    const onward = groupsOnward(groups, envelope, hops);
    if (!onward) return 'hop_limit';
    const key = `grpc ${hops.key}\n${onward.join('\n')}`;
    return encodingOf(envelope, key) ?? this.#encode(envelope, onward, key, hops);
  }

  #shown(envelope: Envelope, groups: readonly string[]): readonly string[] {
    const { groups: own } = this.#options.settings;
    const bare = groups.length === 0 && envelope.groups.length === 0;
    return bare && own.length > 0 ? own : groups;
  }

  #encode(envelope: Envelope, groups: readonly string[], key: string, hops?: GroupHops): Buffer | DropReason {
    const { message, wire } = envelope;
    const isRol = message.kind === 'mission' || isOffer(message);
    const encode = isRol ? asRol : wire?.format === 'fed' ? federated : asFederated;
    try {
      const { node } = this.#options.context;
      return memo(envelope, key, () => frame(encode(envelope, groups, node, hops)));
    } catch (error) {
      // Not the fault of whoever sent it just now: his session must not end for it.
      this.#options.context.log.error({ err: error, kind: message.kind }, 'could not encode a message');
      return 'unsupported';
    }
  }

  #outlet(sink: Sink, maxPendingBytes: number, onRoom = () => {}): Outlet {
    const { clock } = this.#options.context;
    const writable = () => {
      onRoom();
      this.#port?.writable();
    };
    return new Outlet(
      sink,
      { writable, stuck: () => this.close('write_timeout') },
      { maxPendingBytes, oneFramePerWrite: false, writeTimeoutMs: WRITE_TIMEOUT_MS, clock },
    );
  }

  #pace(): Pace {
    return this.#port?.pace() ?? paceOf(undefined);
  }

  #packagesOut(): Packages {
    const { context, spec, settings, hops } = this.#options;
    const { files, log, node } = context;
    return new Packages({
      log,
      whole: (envelope, signal) =>
        files?.whole(envelope, spec, settings.maxRolBytes - MAX_CONTROL_BYTES, signal) ?? Promise.resolve('not_here'),
      bring: (file, envelope, groups) => {
        const limits = hops();
        const shown = this.#shown(envelope, groups);
        const onward = limits ? groupsOnward(shown, envelope, limits) : shown;
        if (!onward) return Promise.resolve('hop_limit');
        const head = fileRol(file, envelope, onward, node, limits);
        const moved = (bytes: number) => {
          this.#fileBytes += bytes;
          file.moved(bytes);
        };
        const { size } = file;
        const read = (at: number, bytes: number) => file.read(at, bytes);
        const sent = this.#rol?.way.file(head, { size, read, moved });
        return sent ? sent.then((whole) => (whole ? { url: '' } : 'peer_gone')) : Promise.resolve('peer_gone');
      },
      // As it came, it goes on: its file may have gone the same way.
      goesWithout: ({ wire }) => wire?.format === 'rol',
      announce: (envelope, groups) => this.#say(envelope, groups, this.#rol?.outlet, settings.maxRolBytes),
      undeliverable: (reason, envelope) => this.#port?.undeliverable(reason, envelope),
    });
  }

  // --- in ------------------------------------------------------------------------------------------------------------

  #onceAttached(read: () => void): void {
    if (this.#state === 'attached') read();
    else this.#unread.push(read);
  }

  #read(stream: Http2Stream, maxBytes: number, onMessage: (payload: Buffer) => void): void {
    const events: FrameEvents = { message: onMessage, oversize: (size) => this.#port?.refused('too_large', size) };
    const deframer = new Deframer(maxBytes, events);
    const take = guardIntake(stream, DEFAULT_INTAKE, this.#options.context.clock);
    this.#deframers.add(deframer);
    stream.once('close', () => this.#deframers.delete(deframer));
    stream.on('data', (chunk: Buffer) => {
      this.#chunks++;
      take(chunk.length);
      try {
        deframer.push(chunk);
      } catch (error) {
        this.fail(error);
      }
    });
  }

  #eventIn = (payload: Buffer): void => {
    // Hubs open with an empty event (§2.5).
    if (payload.length > 0 && this.#port) deliverFederated(payload, payload.length + FRAME_HEAD_BYTES, this.#port);
  };

  #rolIn = (payload: Buffer): void => {
    const port = this.#port;
    if (!port) return;
    const size = payload.length + FRAME_HEAD_BYTES;
    const scan = scanned(scanRol, payload, size, port);
    const stamps = scan && stampsOf(scan, payload, size, port);
    if (!scan || !stamps) return;
    const message = messageOfRol(payload, scan.summary);
    const digest = contentDigest('rol', payload);
    port.deliver({ message, wire: { format: 'rol', bytes: kept(payload) }, size, digest, ...stamps });
  };
}

/** Announcements of files have their own way, with the missions (§3.3). */
function isSaid(event: CotEvent): boolean {
  return isFederatedEvent(event) && !event.type.startsWith(OFFER_TYPE);
}

/** What was framed last, groups and all. */
let last: { readonly envelope: Envelope; readonly framed: Buffer | DropReason } | undefined;

function ignore(): void {}
