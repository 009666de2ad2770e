// A peer as this link knows it: it outlives its connections, and decides which one of them counts.
//
// The newest one that counts takes the place of the one before. Two relays that dial each other at once must come to the same
// choice on both sides without talking it over; two rules see to that (README.md, "Which connection counts").
import type { NodePeer, NodeRequest, NodeResponse } from '../../core/node.ts';
import type { CloseReason } from '../../core/reason.ts';
import type { PeerSpec } from '../../core/session.ts';
import { LinkError, ProtocolError } from '../../lib/errors.ts';
import type { Hello } from '../../wire/portal-bodies.ts';
import type { LinkContext } from '../link.ts';
import { parseAddress } from '../stream.ts';
import type { PeerConfig } from './config.ts';
import type { Connection } from './connection.ts';
import type { Packing } from './events.ts';
import type { Greeted } from './greeting.ts';
import type { Keepalive } from './keepalive.ts';
import { Ledger } from './ledger.ts';
import { CROSSING_MS, GRACE_MARGIN_MS, GRACE_MS, MISREAD_MS } from './limits.ts';
import { DIRECT } from './seam.ts';
import type { Securer } from './secure.ts';
import { PortalSession, type SessionPeer } from './session.ts';
import { Twins } from './twins.ts';
import { Window } from './window.ts';
import { claimedName, gaveWay, TWIN_FRAME, twinTrouble } from './words.ts';
import { WorkPool } from './work.ts';

/** What the link gives all its peers. */
export interface PeerHome {
  readonly context: LinkContext;
  readonly securer: Securer;
  keepaliveFor(localAddress: string): Keepalive;
  /** What we say of ourselves to this peer. */
  hello(peer: PortalPeer, kept: boolean): Hello;
  answer(peer: PortalPeer, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse>;
  /** True for the name of another configured peer. */
  isAnother(name: string, peer: PortalPeer): boolean;
  /** A connection counts now, or no longer. */
  changed(peer: PortalPeer): void;
}

/** Told what happens to the peer; the dialler. */
export interface PeerWatcher {
  began(session: PortalSession): void;
  ended(lastedMs: number, cause: Error | undefined): void;
  suspected(isSilent: boolean): void;
}

export class PortalPeer implements SessionPeer {
  config: PeerConfig;
  readonly spec: PeerSpec;
  readonly ledger = new Ledger();
  readonly window = new Window();
  readonly work: WorkPool;
  readonly counts = { sent: 0, received: 0 };
  session: PortalSession | undefined;
  /** The session owes us something and is silent. */
  isSuspect = false;
  watcher: PeerWatcher | undefined;
  readonly #home: PeerHome;
  readonly #twins = new Twins();
  /** Sockets that are not closed yet. */
  readonly #open = new Set<Promise<void>>();
  #endedMs = Number.NEGATIVE_INFINITY;
  #misreadMs = Number.NEGATIVE_INFINITY;
  #saidName = '';
  #heardWallMs: number | undefined;

  constructor(config: PeerConfig, workers: number, home: PeerHome) {
    const { name: link } = home.context;
    this.config = config;
    this.spec = {
      key: `${link}/${config.name}`,
      link,
      kind: 'portal',
      name: config.name,
      durable: true,
      graceMs: GRACE_MS,
    };
    this.work = new WorkPool(workers);
    this.#home = home;
  }

  get name(): string {
    return this.config.name;
  }

  get packing(): Packing {
    return this.config.packing;
  }

  /** Whether to invite packed records: not for a while after some could not be read, lest every connection end for the same reason. */
  get unpacks(): boolean {
    return this.#home.context.clock.nowMs() - this.#misreadMs > MISREAD_MS;
  }

  /**
   * Takes a proven connection into use, or throws LinkError (`gave_way`, `two_boxes`) with the connection ended.
   * `dialledMs`: when we began to dial it, monotonic; undefined: it came to us.
   */
  welcome(greeted: Greeted, dialledMs: number | undefined): void {
    const { connection, hello } = greeted;
    this.#refuseTwin(connection, hello);
    const isBehind =
      dialledMs === undefined ? this.#keepsOwn(connection, hello) : this.#cameLater(connection, dialledMs);
    if (isBehind) {
      connection.end();
      throw gaveWay(connection.address);
    }
    this.#warnOfName(connection, hello);
    this.#take(greeted);
  }

  /** For `waystation node peers`. */
  status(): NodePeer {
    const { address, hubs, autoConnect } = this.config;
    const { session } = this;
    const isDialled = autoConnect && (address !== undefined || hubs.length > 0);
    const { host = '', port = 0 } = address ?? parseAddress(session?.address ?? '') ?? {};
    return {
      name: this.name,
      host,
      port,
      via: session ? (session.via ?? DIRECT) : '',
      status: session ? 'connected' : isDialled ? 'connecting' : 'disconnected',
      latencyMs: session ? Math.round(session.rttMs * 10) / 10 : null,
      lastContactMs: this.#heardWallMs ?? null,
      clockOffsetMs: session?.clockOffsetMs === undefined ? null : Math.round(session.clockOffsetMs),
      messagesSent: this.counts.sent,
      messagesReceived: this.counts.received,
    };
  }

  /** Resolves when every socket is closed. */
  async closed(): Promise<void> {
    await Promise.all(this.#open);
  }

  // --- what a session tells ------------------------------------------------------------------------------------------

  answer(request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    return this.#home.answer(this, request, signal);
  }

  heard(): void {
    this.#heardWallMs = this.#home.context.clock.wallMs();
  }

  suspected(isSilent: boolean): void {
    this.isSuspect = isSilent;
    this.watcher?.suspected(isSilent);
  }

  ended(session: PortalSession, reason: CloseReason, cause: Error | undefined): void {
    const { log, clock } = this.#home.context;
    const measured = { rttMs: Math.round(session.rttMs), clockOffsetMs: session.clockOffsetMs };
    log.info(
      { peer: this.name, address: session.address, reason, cause: cause?.message, ...measured },
      'connection ended',
    );
    if (cause instanceof ProtocolError && cause.code.startsWith('packed_')) this.#misreadMs = clock.nowMs();
    if (session !== this.session) return;
    this.session = undefined;
    this.isSuspect = false;
    this.#endedMs = clock.nowMs();
    this.watcher?.ended(this.#endedMs - session.sinceMs, cause);
    this.#home.changed(this);
  }

  // --- which connection counts ---------------------------------------------------------------------------------------

  #refuseTwin(connection: Connection, hello: Hello | undefined): void {
    if (!hello) return;
    const { context } = this.#home;
    const box = { nodeId: hello.nodeId, epoch: hello.epoch, address: connection.address };
    const rival = this.#twins.rival(box, this.session !== undefined, context.clock.nowMs());
    if (!rival) return;
    const { code, words, fix } = twinTrouble(this.name, box, rival);
    // The page shows it although the peer is connected.
    context.hub.trouble(this.spec.key, { code, words, fix });
    connection.end(TWIN_FRAME);
    throw new LinkError(code, words, fix);
  }

  /** Client: another came to count since we began to dial, and is no worse. */
  #cameLater(connection: Connection, dialledMs: number): boolean {
    const { session } = this;
    return session !== undefined && session.sinceMs > dialledMs && rankOf(session) <= rankOf(connection);
  }

  /** Server: a connection of our own dialling crossed this one on the way, and is better. */
  #keepsOwn(connection: Connection, hello: Hello | undefined): boolean {
    const { session } = this;
    const { clock } = this.#home.context;
    if (session?.role !== 'client' || session.confirmed) return false;
    // A peer that has restarted, or was long silent, does not count ours.
    if (!hello || session.hello?.epoch !== hello.epoch || clock.nowMs() - session.sinceMs > CROSSING_MS) return false;
    const [ours, theirs] = [rankOf(session), rankOf(connection)];
    return ours === theirs ? this.#home.securer.pin < connection.pin : ours < theirs;
  }

  #take(greeted: Greeted): void {
    const { context, keepaliveFor, changed } = this.#home;
    const { connection, hello } = greeted;
    const keepalive = keepaliveFor(connection.secured.socket.localAddress ?? '');
    const kept = this.session !== undefined || context.clock.nowMs() - this.#endedMs < GRACE_MS - GRACE_MARGIN_MS;
    const session = new PortalSession(greeted, this, keepalive, context);
    const older = this.session;
    this.session = session;
    this.isSuspect = false;
    this.#remember(connection.closed);
    const port = context.hub.attach(this.spec, session);
    older?.close('replaced');
    session.begin(port, hello, kept, (isKept) => this.#home.hello(this, isKept));
    const { address, via, role } = connection;
    context.log.info(
      { peer: this.name, address, via, role, resumed: connection.secured.used !== undefined },
      'connected',
    );
    if (this.session !== session) return; // it ended as it began
    this.watcher?.began(session);
    changed(this);
  }

  #remember(closed: Promise<void>): void {
    const done = closed.then(() => void this.#open.delete(done));
    this.#open.add(done);
  }

  /** Whoever it says it is, its certificate has the last word. */
  #warnOfName({ address }: Connection, hello: Hello | undefined): void {
    if (!hello || hello.name === this.name) return;
    const { context, isAnother } = this.#home;
    if (isAnother(hello.name, this)) context.refuse(address, claimedName(this.name, hello.name));
    else if (hello.name !== this.#saidName) {
      context.log.info({ peer: this.name, name: hello.name }, 'the peer calls itself by another name than it has here');
    }
    this.#saidName = hello.name;
  }
}

/** Lower is better: direct before any hub. */
function rankOf({ via }: { readonly via?: string | undefined }): number {
  return via === undefined ? 0 : 1;
}
