// The one portal link of a box: its listener, its peers, and whoever asks them something.
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  type NodePeer,
  type NodeRequest,
  type NodeResponse,
  type NodeService,
  problemResponse,
} from '../../core/node.ts';
import { aborted, childController, onAbort } from '../../lib/abort.ts';
import { FatalError, LinkError } from '../../lib/errors.ts';
import type { Hello } from '../../wire/portal-bodies.ts';
import type { Link, LinkContext, Trouble } from '../link.ts';
import { type Address, dialTcp, formatAddress, listenTcp, type TlsSettings } from '../stream.ts';
import { Gate } from './accept.ts';
import { federationKey, type PeerConfig, type PortalConfig } from './config.ts';
import { Dialler } from './dial.ts';
import { greetAsClient } from './greeting.ts';
import { Keepalive, networkOf } from './keepalive.ts';
import { KeyGuard } from './key-guard.ts';
import { CONNECT_MS, HANDSHAKE_MS, MAX_CONNECTIONS, MAX_REQUEST_HOPS } from './limits.ts';
import { PACKS } from './packing.ts';
import { type PeerHome, PortalPeer } from './peer.ts';
import { Resumptions } from './resumption.ts';
import { DIRECT, type Path, type Sessions, type Tunnels } from './seam.ts';
import { Securer } from './secure.ts';
import { ACKNOWLEDGES, BRIEF } from './skills.ts';
import { PortalTunnels } from './tunnel.ts';
import { refusalOf } from './work.ts';

/** Says that we serve as a hub. */
const HUB = 'hub';

export class PortalLink implements Link {
  #config: PortalConfig;
  #running: RunningPortal | undefined;

  constructor(config: PortalConfig) {
    this.#config = config;
  }

  async run(context: LinkContext): Promise<void> {
    const running = new RunningPortal(this.#config, context);
    this.#running = running;
    try {
      await running.run();
    } finally {
      this.#running = undefined;
    }
  }

  /** Peers, workers and what is exposed can change while connections stay. */
  update(settings: unknown): boolean {
    const next = settings as PortalConfig;
    if (!isDeepStrictEqual(rigid(this.#config), rigid(next))) return false;
    this.#config = next;
    this.#running?.update(next);
    return true;
  }
}

/** The settings that a new listener, key or certificate depends on. */
function rigid({ listen, federationKey, federationKeyFile, hub, keepaliveMs }: PortalConfig) {
  return { listen, federationKey, federationKeyFile, hub, keepaliveMs };
}

/** Where a peer's own key is. */
function keyOf({ federationKey: key, federationKeyFile: file }: PeerConfig) {
  return { key, file };
}

interface Entry {
  readonly peer: PortalPeer;
  readonly dialler: Dialler;
  readonly stop: () => void;
  readonly stopped: Promise<void>;
}

/** The link from the start of its run to the end. */
class RunningPortal implements PeerHome, Sessions, NodeService {
  readonly context: LinkContext;
  readonly securer: Securer;
  readonly #guard: KeyGuard;
  readonly #resumptions: Resumptions;
  readonly #gate: Gate;
  readonly #keepalives = new Map<string, Keepalive>();
  readonly #entries = new Map<string, Entry>();
  /** Pins of peers that are revoked. */
  readonly #shut = new Set<string>();
  /** Of peers that have one of their own, by pin. */
  readonly #keys = new Map<string, Buffer>();
  /** Peers no longer configured whose sockets are still closing. */
  readonly #leaving = new Set<Promise<void>>();
  #config: PortalConfig;
  #tunnels: Tunnels;

  constructor(config: PortalConfig, context: LinkContext) {
    const keyPair = context.identity.portal();
    this.#config = config;
    this.context = context;
    this.#guard = new KeyGuard(federationKey(config, context.baseDir), context.clock);
    this.#resumptions = new Resumptions(context.clock);
    this.securer = new Securer(keyPair, this.#resumptions);
    this.#tunnels = new PortalTunnels(config, this, context);
    this.#gate = new Gate({
      context,
      securer: this.securer,
      guard: this.#guard,
      hello: (peer) => this.hello(peer, false),
      peerOf: (pin) => this.#peers.find((peer) => peer.config.pin === pin && !this.#isRevoked(pin)),
      keyOf: (pin) => this.#keys.get(pin),
      onSplice: (socket, firstBytes) => this.#tunnels.onSplice(socket, firstBytes),
    });
  }

  /** Resolves after abort with every socket closed. */
  async run(): Promise<void> {
    const { context } = this;
    const withdraw = context.provideNodes(this);
    const withdrawTunnels = context.provideTunnels({
      open: (peer, service, signal) => this.#tunnels.open(peer, service, signal),
      join: (hub, peer, signal) => this.#tunnels.join(hub, peer, signal),
    });
    const release = onAbort(context.signal, () => this.#hangUp());
    const ignore = context.trust.onChange?.(() => this.#judgeAgain());
    try {
      for (const peer of this.#config.peers) this.#add(peer);
      this.#report();
      await this.#listen();
    } finally {
      ignore?.();
      release();
      this.#hangUp();
      withdraw();
      withdrawTunnels();
      await Promise.all([...this.#entries.values()].map((entry) => this.#gone(entry)));
      await Promise.all(this.#leaving);
    }
  }

  #hangUp(): void {
    this.#tunnels.close();
    for (const { peer, stop } of this.#entries.values()) {
      stop();
      peer.session?.close('shutdown');
    }
  }

  /** Takes over another configuration of the same listener and key. */
  update(config: PortalConfig): void {
    const before = this.#config;
    this.#config = config;
    if (!isDeepStrictEqual([before.expose, before.tunnels], [config.expose, config.tunnels])) {
      this.#tunnels.close();
      this.#tunnels = new PortalTunnels(config, this, this.context);
    }
    for (const { peer } of this.#entries.values()) {
      const wanted = config.peers.find(({ name }) => name === peer.name);
      if (wanted?.pin !== peer.config.pin) this.#remove(peer);
    }
    for (const wanted of config.peers) {
      const entry = this.#entries.get(wanted.name);
      if (entry) this.#change(entry, wanted);
      else this.#add(wanted);
    }
    this.#report();
  }

  // --- peers ---------------------------------------------------------------------------------------------------------

  get #peers(): readonly PortalPeer[] {
    return [...this.#entries.values()].map(({ peer }) => peer);
  }

  #add(config: PeerConfig): void {
    const { hub, signal, log, clock } = this.context;
    const peer = new PortalPeer(config, config.workers ?? this.#config.workers, this);
    const { key } = peer.spec;
    hub.expect(peer.spec);
    hub.setPeerPolicy(key, config.policy);
    this.#takeKey(config, key);
    if (config.pin === this.securer.pin) hub.trouble(key, ownPin(config.name));
    if (this.#isRevoked(config.pin)) {
      this.#shut.add(config.pin);
      hub.trouble(key, revokedPin(config.name));
    }
    const dialler = new Dialler(peer, {
      clock,
      log,
      paths: () => this.#pathsTo(peer),
      connect: (path, inner) => this.#connect(peer, path, inner),
      isHub: () => this.#peers.some(({ config: { hubs } }) => hubs.includes(peer.name)),
      trouble: (trouble) => hub.trouble(key, trouble),
    });
    peer.watcher = dialler;
    const { controller, release } = childController(signal);
    const stopped = dialler.run(controller.signal).finally(release);
    this.#entries.set(config.name, { peer, dialler, stop: () => controller.abort(), stopped });
  }

  /** A peer whose own key cannot be read is not let in by another. */
  #takeKey(config: PeerConfig, peerKey: string): void {
    this.#keys.delete(config.pin);
    if (config.federationKey === undefined && config.federationKeyFile === undefined) return;
    try {
      this.#keys.set(config.pin, federationKey(config, this.context.baseDir));
    } catch (error) {
      if (!(error instanceof FatalError)) throw error;
      this.#keys.set(config.pin, randomBytes(32));
      this.context.hub.trouble(peerKey, { code: error.code, words: error.message, fix: error.fix });
    }
  }

  #isRevoked(pin: string): boolean {
    return this.context.trust.revoked?.includes(pin) ?? false;
  }

  /** What the relay revokes is cut off at once; what it takes back is dialled again. */
  #judgeAgain(): void {
    for (const { peer, dialler } of this.#entries.values()) {
      const { pin, name } = peer.config;
      const was = this.#shut.has(pin);
      if (was === this.#isRevoked(pin)) continue;
      if (was) {
        this.#shut.delete(pin);
        this.context.hub.trouble(peer.spec.key, undefined);
        dialler.retry();
        continue;
      }
      this.#shut.add(pin);
      this.#resumptions.forget(pin);
      peer.session?.close('revoked');
      this.context.hub.trouble(peer.spec.key, revokedPin(name));
    }
  }

  #remove(peer: PortalPeer): void {
    const entry = this.#entries.get(peer.name);
    if (!entry) return;
    this.#entries.delete(peer.name);
    entry.stop();
    peer.session?.close('config_changed');
    this.#resumptions.forget(peer.config.pin);
    this.#keys.delete(peer.config.pin);
    this.#shut.delete(peer.config.pin);
    this.context.hub.dismiss(peer.spec.key);
    const gone = this.#gone(entry).finally(() => this.#leaving.delete(gone));
    this.#leaving.add(gone);
  }

  #change({ peer, dialler }: Entry, wanted: PeerConfig): void {
    const before = peer.config;
    peer.config = wanted;
    peer.work.workers = wanted.workers ?? this.#config.workers;
    if (isDeepStrictEqual(before, wanted)) return;
    if (!isDeepStrictEqual(keyOf(before), keyOf(wanted))) {
      this.#takeKey(wanted, peer.spec.key);
      this.#resumptions.forget(wanted.pin);
      peer.session?.close('config_changed');
    }
    this.context.hub.setPeerPolicy(peer.spec.key, wanted.policy);
    const { session } = peer;
    const moved = !isDeepStrictEqual(before.address, wanted.address);
    if (moved && session?.role === 'client' && session.via === undefined) session.close('config_changed');
    dialler.retry();
  }

  async #gone({ peer, stopped }: Entry): Promise<void> {
    await stopped;
    await peer.closed();
  }

  // --- connecting ----------------------------------------------------------------------------------------------------

  async #listen(): Promise<void> {
    const { context } = this;
    const { listen } = this.#config;
    if (listen.length === 0) return aborted(context.signal);
    await listenTcp(listen, (socket) => this.#gate.accept(socket), { maxConnections: MAX_CONNECTIONS }, context);
  }

  #pathsTo({ config }: PortalPeer): readonly Path[] {
    if (config.pin === this.securer.pin || this.#isRevoked(config.pin)) return [];
    const { address, name } = config;
    const direct = address ? [{ name: DIRECT, open: (signal: AbortSignal) => this.#dial(address, signal) }] : [];
    return [...direct, ...config.hubs.map((hub) => this.#tunnels.path(hub, name))];
  }

  #dial(address: Address, signal: AbortSignal) {
    const context = { ...this.context, signal, report: () => {} };
    return dialTcp(address, { connectMs: CONNECT_MS, handshakeMs: HANDSHAKE_MS }, context);
  }

  async #connect(peer: PortalPeer, path: Path, signal: AbortSignal): Promise<void> {
    const { context, securer } = this;
    const { clock } = context;
    const dialledMs = clock.nowMs();
    const { address, pin } = peer.config;
    const isDirect = path.name === DIRECT && address !== undefined;
    const where = isDirect ? formatAddress(address) : `${peer.name} through ${path.name}`;
    const raw = await path.open(signal);
    const secured = await securer.asClient(raw, pin, where, { clock, signal, ms: HANDSHAKE_MS });
    const way = { role: 'client', address: where, via: isDirect ? undefined : path.name } as const;
    await greetAsClient(
      {
        secured,
        way,
        guard: this.#guard,
        key: this.#keys.get(pin),
        suspect: pin,
        ourPin: securer.pin,
        signal,
        hello: () => this.hello(peer, false),
        authenticated: () => securer.learn(secured, 'client'),
        proven: (greeted) => {
          const { code, words, fix } = revokedPin(peer.name);
          if (this.#isRevoked(pin)) throw new LinkError(code, words, fix);
          peer.welcome(greeted, dialledMs);
        },
      },
      context,
    );
  }

  // --- what peers ask of the link ------------------------------------------------------------------------------------

  keepaliveFor = (localAddress: string): Keepalive => {
    const { memory, clock } = this.context;
    const network = networkOf(localAddress);
    const known = this.#keepalives.get(network);
    if (known) return known;
    const made = new Keepalive(memory, clock, localAddress, this.#config.keepaliveMs);
    this.#keepalives.set(network, made);
    return made;
  };

  hello = (peer: PortalPeer, kept: boolean): Hello => {
    const { node } = this.context;
    const { epoch, theirEpoch, received } = peer.ledger;
    return {
      nodeId: node.id,
      name: node.name,
      version: node.version,
      capabilities: [ACKNOWLEDGES, ...(peer.unpacks ? [PACKS, BRIEF] : []), ...(this.#config.hub ? [HUB] : [])],
      epoch,
      resumeEpoch: theirEpoch,
      resumeId: received,
      limits: this.#tunnels.limitsFor(peer.name),
      kept,
    };
  };

  answer = (peer: PortalPeer, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> => {
    const caller = { name: peer.name, link: this.context.name };
    return this.#tunnels.handle(request, caller, signal) ?? this.context.resources.handle(request, caller, signal);
  };

  isAnother = (name: string, peer: PortalPeer): boolean => {
    return name !== peer.name && this.#entries.has(name);
  };

  changed = ({ name, session }: PortalPeer): void => {
    this.#report();
    if (session) this.context.wayIsBack(name);
    if (session?.role !== 'client' || session.via !== undefined) return;
    for (const { peer, dialler } of this.#entries.values()) if (peer.config.hubs.includes(name)) dialler.hubIsBack();
  };

  // --- what tunnels ask of the sessions ------------------------------------------------------------------------------

  connected(peer: string): boolean {
    return this.#entries.get(peer)?.peer.session !== undefined;
  }

  rttMs(name: string): number {
    return this.#entries.get(name)?.peer.session?.rttMs ?? 0;
  }

  doubt(name: string, sinceMs: number): void {
    const peer = this.#entries.get(name)?.peer;
    if (peer?.session && peer.session.heardMs <= sinceMs) peer.suspected(true);
  }

  accept(socket: Parameters<Sessions['accept']>[0], hub: string, peer: string): void {
    this.#gate.acceptSpliced(socket, hub, peer);
  }

  acceptJoining(socket: Parameters<Sessions['accept']>[0], hub: string, peer: string): void {
    this.#gate.acceptJoining(socket, hub, peer);
  }

  dialled(name: string): Address | undefined {
    const peer = this.#entries.get(name)?.peer;
    const { session } = peer ?? {};
    return session?.role === 'client' && session.via === undefined ? peer?.config.address : undefined;
  }

  hubs(name: string): readonly string[] {
    const peer = this.#entries.get(name)?.peer;
    const inUse = peer?.session?.via;
    const hubs = peer?.config.hubs ?? [];
    return inUse !== undefined && hubs.includes(inUse) ? [inUse, ...hubs.filter((hub) => hub !== inUse)] : hubs;
  }

  tls(name: string): TlsSettings | undefined {
    const peer = this.#entries.get(name)?.peer;
    if (!peer) return undefined;
    const trust = { cas: [], pins: [peer.config.pin] };
    return { keyPair: this.context.identity.portal(), trust, alpn: [], verifyName: false };
  }

  // --- what the relay asks -------------------------------------------------------------------------------------------

  peers(): readonly NodePeer[] {
    return this.#peers.map((peer) => peer.status());
  }

  call(name: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> {
    return (
      this.#ask(name, request, signal) ??
      Promise.resolve(problemResponse(404, 'unknown_peer', `no peer is called ${name}`))
    );
  }

  #ask(name: string, request: NodeRequest, signal: AbortSignal): Promise<NodeResponse> | undefined {
    const entry = this.#entries.get(name);
    if (!entry) return undefined;
    const refusal = request.hops >= MAX_REQUEST_HOPS ? TOO_FAR : refusalOf(request);
    if (refusal) return Promise.resolve(problemResponse(refusal.status, refusal.code, refusal.words));
    const { session } = entry.peer;
    if (session) return session.request(request, signal);
    return Promise.resolve(problemResponse(502, 'not_connected', `${name} is not connected`));
  }

  /** A listener has said where it listens, and leaves it at that; without one, how many peers are there. */
  #report(): void {
    const { context } = this;
    if (this.#config.listen.length > 0 || context.signal.aborted) return;
    const peers = this.#peers;
    const connected = peers.filter(({ session }) => session).length;
    context.report(
      connected > 0 || peers.length === 0 ? 'connected' : 'connecting',
      `${connected} of ${peers.length} peers`,
    );
  }
}

const TOO_FAR = { status: 508, code: 'too_far', words: `a request passes at most ${MAX_REQUEST_HOPS} relays` };

function ownPin(name: string): Trouble {
  const words = `the pin of ${name} is that of this relay itself`;
  return {
    code: 'own_pin',
    words,
    fix: 'Put the pin there that "waystation cert show" prints at the peer, under portal.',
  };
}

function revokedPin(name: string): Trouble {
  const words = `the certificate of ${name} was revoked on this box`;
  return { code: 'revoked', words, fix: 'If it is welcome after all, take its fingerprint out of "revoked".' };
}
