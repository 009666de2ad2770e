// The hub: takes decoded messages from sessions and offers them to the other peers' queues, synchronously, waiting for
// nobody. admit -> seen -> picture -> for every other peer: permit, carries, offer, pump.
import type { Clock } from '../lib/clock.ts';
import { Announced } from './announced.ts';
import { Backlog } from './backlog.ts';
import { type Budget, LinkBudget, NO_BUDGET, type Usage } from './budget.ts';
import { type CatchUp, catchUp } from './catch-up.ts';
import { ClockSense } from './clock-sense.ts';
import { ANY_CONTACT, Contacts } from './contacts.ts';
import { Copies } from './copies.ts';
import { Departed } from './departed.ts';
import { makeEnvelope, type Receipt } from './envelope.ts';
import type { EventLog } from './events.ts';
import { History, SAMPLE_MS } from './history.ts';
import { HUB_LIMITS, type HubLimits } from './hub-limits.ts';
import { LastWays } from './last-ways.ts';
import { type CotEvent, type Envelope, type Inbound, isDirected, type TrackOf } from './message.ts';
import { type CrossingStatus, MAIN_NETWORK, type NetworkEntry, networkOf } from './networks.ts';
import { type OnEvict, Outboxes, type OutboxHost } from './outbox.ts';
import type { OutboxDisk } from './outbox-disk.ts';
import { Peer } from './peer.ts';
import { numberOf } from './peer-number.ts';
import { Picture } from './picture.ts';
import { type AdmitContext, flowTagName, isAlert, isUnit, laneOf, type Policy, PROBE_TYPE } from './policy.ts';
import { CLOSED_PORT, HubSessionPort } from './port.ts';
import type { QueueLimits } from './queue.ts';
import { CLOSE_WORDS, type CloseReason, countDrop, type DropReason } from './reason.ts';
import { Rulebook } from './rulebook.ts';
import type { HubPort, PeerSpec, Returned, Session, SessionPort } from './session.ts';
import { Timings } from './timings.ts';
import { RETELL_MS } from './unheard.ts';

/** How often stale positions and forgotten peers are looked for. */
const SWEEP_MS = 15_000;
/** A position this much older than the last one was overtaken on another path; more, and the unit's clock was set. */
const REORDER_MS = 30_000;

export interface HubOptions {
  readonly nodeId: string;
  readonly clock: Clock;
  readonly events: EventLog;
  readonly limits?: Partial<HubLimits>;
  /** Who was where before a restart. Default: nobody. */
  readonly lastWays?: LastWays;
  /** Where what must not be lost is kept; undefined: in memory only. */
  readonly outbox?: Omit<OutboxHost, 'nextSeq' | 'clock'> | undefined;
  /** How units move, where their events say so. Asked for thin lines only. Default: nobody says. */
  readonly trackOf?: TrackOf;
}

export class Hub implements HubPort {
  readonly picture: Picture;
  readonly timings: Timings;
  readonly lastWays: LastWays;
  readonly history = new History();
  /** What live units' clocks say of ours. */
  readonly clockSense = new ClockSense();
  readonly #contacts: Contacts;
  readonly #clock: Clock;
  readonly #events: EventLog;
  readonly #limits: HubLimits;
  readonly #backlog: Backlog;
  readonly #announced = new Announced();
  readonly #copies: Copies;
  readonly #trackOf: TrackOf | undefined;
  readonly #disk: OutboxDisk | undefined;
  readonly #outboxes: Outboxes | undefined;
  readonly #nodeId: string;
  readonly #flowTag: string;
  readonly #taps = new Set<(envelope: Envelope) => void>();
  #lastSeq = 0;

  // What the configuration says
  readonly #rulebook = new Rulebook();
  readonly #budgets = new Map<string, LinkBudget>();
  /** Peers that are known because the configuration names them. */
  readonly #expected = new Set<string>();
  /** Links that are no longer configured: what still comes from them is turned away. */
  readonly #forgotten = new Set<string>();

  // Who is there
  readonly #peers = new Map<string, Peer>();
  /** The same peers, for the loop that runs for every message. */
  #peerList: readonly Peer[] = [];
  #lastPeer = 0;
  /** Cancels the end of the time that a peer's contacts have. */
  readonly #graces = new Map<string, () => void>();
  /** Counters of peers that are gone, by link; also by links that are gone, as what they did was done. */
  readonly #departed = new Map<string, Departed>();

  constructor(options: HubOptions) {
    this.#nodeId = options.nodeId;
    this.#flowTag = flowTagName(options.nodeId);
    this.#clock = options.clock;
    this.#events = options.events;
    this.#limits = { ...HUB_LIMITS, ...options.limits };
    this.#trackOf = options.trackOf;
    this.#backlog = new Backlog(this.#limits.backlog);
    this.picture = new Picture(this.#limits.picture);
    this.timings = new Timings(options.clock);
    this.lastWays = options.lastWays ?? new LastWays(options.clock);
    this.#contacts = new Contacts(this.picture, this.#events, {
      lastWays: this.lastWays,
      peer: (key) => this.#peers.get(key),
      make: (message, stamps, from) =>
        this.#envelope(
          { ...stamps, message, size: 0 },
          { peer: from, nowMs: this.#clock.nowMs(), wallMs: this.#clock.wallMs() },
        ),
      offerAll: (envelope, from) => this.#offerAll(envelope, from),
    });
    this.#disk = options.outbox?.disk;
    this.#copies = new Copies(this.#limits.seen, this.#disk);
    if (options.outbox) {
      this.#outboxes = new Outboxes({ ...options.outbox, clock: options.clock, nextSeq: () => ++this.#lastSeq });
    }
    this.#sweepLater();
    this.#sampleLater();
  }

  // --- links ---------------------------------------------------------------------------------------------------------

  /** Sets what peers of a link may do, at once, without touching a connection. */
  setPolicy(link: string, policy: Policy, queue: QueueLimits = this.#limits.queue, budget: Budget = NO_BUDGET): void {
    this.#forgotten.delete(link);
    this.#budgetOf(link).set(budget);
    this.#rulebook.setLink(link, { policy, queue });
    for (const peer of this.#peerList) {
      if (peer.spec.link !== link) continue;
      peer.policy = this.#rulebook.policyOf(peer.spec);
      peer.queue.setLimits(queue);
      peer.pump();
    }
  }

  /** What a link has spent of its day's bytes before this relay started. */
  setUsage(link: string, usage: Usage): void {
    this.#budgetOf(link).restore(usage);
  }

  /** What links may cost, and have cost today. */
  budgets(): ReadonlyMap<string, LinkBudget> {
    return this.#budgets;
  }

  #budgetOf(link: string): LinkBudget {
    const budget = this.#budgets.get(link) ?? new LinkBudget(NO_BUDGET, this.#clock);
    this.#budgets.set(link, budget);
    return budget;
  }

  setPeerPolicy(key: string, policy: Policy | undefined): void {
    this.#rulebook.setPeer(key, policy);
    const peer = this.#peers.get(key);
    if (peer) peer.policy = this.#rulebook.policyOf(peer.spec);
  }

  setPeerName(key: string, name: string): void {
    this.#rulebook.setName(key, name);
    const peer = this.#peers.get(key);
    if (!peer) return;
    peer.givenName = name;
    if (name) peer.spec = { ...peer.spec, name };
  }

  /** The networks inside this box; none: it is one. In force at once, for what waits too. */
  setNetworks(entries: readonly NetworkEntry[]): void {
    this.#rulebook.setNetworks(entries);
    for (const peer of this.#peerList) peer.policy = this.#rulebook.policyOf(peer.spec);
  }

  get crossings(): readonly CrossingStatus[] {
    return this.#rulebook.networks?.status() ?? [];
  }

  trouble(key: string, trouble: Peer['trouble']): void {
    const peer = this.#peers.get(key);
    if (peer) peer.trouble = trouble;
  }

  dismiss(key: string): void {
    this.#rulebook.setPeer(key, undefined);
    const peer = this.#peers.get(key);
    if (peer) this.#remove(peer);
  }

  /** The link is no longer configured: its peers go, and so does what was said about them. */
  forget(link: string): void {
    this.#forgotten.add(link);
    this.#rulebook.forget(link);
    this.#budgetOf(link).set(NO_BUDGET);
    for (const peer of this.#peerList) if (peer.spec.link === link) this.#remove(peer);
  }

  expect(spec: PeerSpec): void {
    if (this.#forgotten.has(spec.link)) return;
    this.#expected.add(spec.key);
    this.#peerFor(spec);
  }

  attach(spec: PeerSpec, session: Session): SessionPort {
    if (this.#forgotten.has(spec.link)) return this.#turnAway(session, 'config_changed');
    if (!this.#peers.has(spec.key) && this.#peers.size >= this.#limits.peers) {
      this.#events.add({ type: 'peer_limit', peer: spec.key });
      return this.#turnAway(session, 'peer_limit');
    }
    const peer = this.#peerFor(spec);
    this.#replace(peer, session);
    this.#awaitUnheard(peer);
    const keepsContacts = session.carries(ANY_CONTACT);
    peer.begin(session, keepsContacts, this.#catchUpFor(peer, keepsContacts));
    const name = peer.givenName || session.identity.name;
    this.#events.add({ type: 'peer_up', peer: spec.key, name, address: session.address });
    // Not now: the link has yet to receive its port.
    this.#clock.after(0, () => peer.session === session && peer.pump());
    return new HubSessionPort(this, peer, session);
  }

  // --- the data path -------------------------------------------------------------------------------------------------

  /** One message from a peer's session. */
  deliver(peer: Peer, inbound: Inbound): void {
    const nowMs = this.#clock.nowMs();
    const wallMs = this.#clock.wallMs();
    peer.received.events++;
    peer.received.bytes += inbound.size;
    peer.lastHeardMs = nowMs;
    if (inbound.message.kind === 'event') this.clockSense.note(inbound.message.event, wallMs, nowMs);
    const clockOffsetMs = this.clockSense.offsetMs;
    const context: AdmitContext = { nodeId: this.#nodeId, flowTag: this.#flowTag, wallMs, clockOffsetMs };
    const refusal = peer.screen.admit(inbound, peer.policy, context, nowMs) ?? this.#known(peer, inbound, nowMs);
    if (refusal) return countDrop(peer.refused, refusal);
    const { message } = inbound;
    if (message.kind === 'contact') {
      peer.lanes[laneOf(message)]!.received++;
      return this.#contacts.said(peer, message, inbound);
    }
    const last = message.kind === 'event' ? this.#lastOf(message.event.uid, peer) : undefined;
    const envelope = this.#envelope(inbound, { peer, nowMs, wallMs, before: last });
    peer.lanes[envelope.lane]!.received++;
    this.timings.received(envelope);
    const { border } = peer.policy;
    if (border) {
      const noted = (salt: number) => this.#copies.check(peer, inbound, nowMs, salt);
      this.#rulebook.networks?.arrived(envelope, border.network, wallMs, noted);
    }
    this.#pass(peer, envelope, last);
    this.timings.spread();
  }

  /** A unit's position before, as far as the network it was now heard in may know of it. */
  #lastOf(uid: string, { policy: { border } }: Peer): CotEvent | undefined {
    const latest = this.picture.latest(uid);
    if (latest?.message.kind !== 'event' || border?.lets(latest) === false) return undefined;
    return latest.message.event;
  }

  #pass(peer: Peer, envelope: Envelope, last: CotEvent | undefined): void {
    const { message } = envelope;
    if (message.kind !== 'event') return this.#offerAll(envelope, peer);
    if (message.event.type === PROBE_TYPE) return this.#show(envelope);
    if (this.#learn(peer, envelope, message.event, last)) this.#route(peer, envelope, message.event);
  }

  safely(done: () => void): void {
    if (this.#disk) this.#disk.safely(done);
    else done();
  }

  /** Sees every message that was let in. Must be quick and must not throw. Returns its removal. */
  tap(listener: (envelope: Envelope) => void): () => void {
    this.#taps.add(listener);
    return () => this.#taps.delete(listener);
  }

  #known(peer: Peer, inbound: Inbound, nowMs: number): DropReason | undefined {
    if (!this.#copies.check(peer, inbound, nowMs)) return undefined;
    const { message, provenance } = inbound;
    if (message.kind === 'event') {
      this.#contacts.metAgain(peer, message.event.uid, provenance);
      this.#learnAgain(peer, inbound, message.event);
    }
    return 'duplicate';
  }

  /** An alert that was passed on before a restart: whoever connects from now on is to hear of it all the same. */
  #learnAgain(peer: Peer, inbound: Inbound, event: CotEvent): void {
    if (!isAlert(event) || isDirected(event) || event.type === 'b-a-o-can' || this.picture.alert(event.uid)) return;
    const [nowMs, wallMs] = [this.#clock.nowMs(), this.#clock.wallMs()];
    this.picture.raise(event.uid, this.#envelope(inbound, { peer, nowMs, wallMs }));
  }

  /** Updates picture and roster. False: an older word than the one already passed on. */
  #learn(peer: Peer, envelope: Envelope, event: CotEvent, before: CotEvent | undefined): boolean {
    if (isDirected(event)) return true;
    if (isUnit(event)) {
      const overtaken = before ? before.timeMs - event.timeMs : 0;
      if (overtaken > 0 && overtaken < REORDER_MS) {
        countDrop(peer.refused, 'superseded');
        return false;
      }
      this.picture.keep(event.uid, envelope);
      this.#contacts.met(peer, envelope, event);
    } else if (isAlert(event)) {
      if (event.type === 'b-a-o-can') this.picture.cancel(event.uid);
      else this.picture.raise(event.uid, envelope);
    }
    return true;
  }

  #envelope(inbound: Inbound, receipt: Omit<Receipt, 'seq'>): Envelope {
    return makeEnvelope(inbound, { ...receipt, seq: ++this.#lastSeq });
  }

  #route(peer: Peer, envelope: Envelope, event: CotEvent): void {
    const recipients = this.#contacts.addressees(event, peer);
    if (!recipients) return this.#offerAll(envelope, peer);
    if (recipients.size === 0) return countDrop(peer.refused, 'no_recipient');
    this.#show(envelope);
    for (const recipient of recipients) recipient.offer(envelope);
  }

  #show(envelope: Envelope): void {
    for (const tap of this.#taps) tap(envelope);
  }

  #offerAll(envelope: Envelope, from: Peer): void {
    this.#show(envelope);
    const peers = this.#rulebook.networks
      ? this.#peerList.filter(({ policy }) => policy.border?.lets(envelope))
      : this.#peerList;
    for (const peer of peers) if (peer !== from) peer.offer(envelope);
  }

  // --- coming and going ----------------------------------------------------------------------------------------------

  /** The session ended; called once by its port. */
  ended(
    peer: Peer,
    session: Session,
    reason: CloseReason,
    cause: Error | undefined,
    returned: Returned | undefined,
  ): void {
    if (peer.session !== session) {
      peer.takeBack(returned);
      return peer.pump();
    }
    const words = cause?.message ?? CLOSE_WORDS[reason];
    peer.end(reason, words, returned);
    this.#events.add({ type: 'peer_down', peer: peer.spec.key, reason, words });
    if (!peer.spec.durable) return this.#remove(peer);
    this.#setGrace(peer, peer.spec.graceMs, () => this.#contacts.leave(peer));
  }

  /** The peer is connected and tells anew who is behind it. */
  tellsAnew(peer: Peer): void {
    this.#contacts.tellsAnew(peer);
    this.#awaitUnheard(peer);
  }

  #awaitUnheard(peer: Peer): void {
    if (this.#contacts.waitsFor(peer)) this.#setGrace(peer, RETELL_MS, () => this.#contacts.leaveUnheard(peer));
    else this.#endGrace(peer);
  }

  #peerFor(spec: PeerSpec): Peer {
    const known = this.#peers.get(spec.key);
    if (known) {
      known.spec = spec;
      return known;
    }
    const outboxes = spec.durable ? this.#outboxes : undefined;
    const peer = new Peer({
      number: numberOf(spec, ++this.#lastPeer),
      ...(outboxes && { outbox: (onEvict: OnEvict) => outboxes.of(spec.key, onEvict) }),
      spec,
      policy: this.#rulebook.policyOf(spec),
      queue: this.#rulebook.queueOf(spec.link) ?? this.#limits.queue,
      budget: this.#budgetOf(spec.link),
      ...{ backlog: this.#backlog, announced: this.#announced, trackOf: this.#trackOf },
      ...{ clock: this.#clock, timings: this.timings },
      noticeOf: (uid, position) => this.#contacts.noticeOf(uid, position),
    });
    peer.givenName = this.#rulebook.nameOf(spec.key);
    this.#peers.set(spec.key, peer);
    this.#peerList = [...this.#peers.values()];
    return peer;
  }

  #turnAway(session: Session, reason: CloseReason): SessionPort {
    this.#clock.after(0, () => session.close(reason));
    return CLOSED_PORT;
  }

  /** The newest connection of a peer is the one that works. */
  #replace(peer: Peer, session: Session): void {
    const older = peer.detach();
    if (!older) return;
    const words = `${older.address} gave way to ${session.address}`;
    this.#events.add({ type: 'peer_replaced', peer: peer.spec.key, words });
    older.close('replaced');
  }

  #remove(peer: Peer): void {
    const { key, link } = peer.spec;
    this.#peers.delete(key);
    this.#peerList = [...this.#peers.values()];
    this.#expected.delete(key);
    this.#endGrace(peer);
    const session = peer.detach();
    peer.depart(this.#departedOf(link, networkOf(peer.policy)));
    if (session) {
      this.#events.add({ type: 'peer_down', peer: key, reason: 'config_changed', words: CLOSE_WORDS.config_changed });
      session.close('config_changed');
    }
    this.#contacts.leave(peer);
  }

  #setGrace(peer: Peer, ms: number, over: () => void): void {
    const { key } = peer.spec;
    this.#endGrace(peer);
    const cancel = this.#clock.after(ms, () => {
      this.#graces.delete(key);
      over();
    });
    this.#graces.set(key, cancel);
  }

  #endGrace({ spec }: Peer): void {
    this.#graces.get(spec.key)?.();
    this.#graces.delete(spec.key);
  }

  /** Fixed now: later messages are offered live. */
  #catchUpFor({ spec }: Peer, keepsContacts: boolean): CatchUp {
    const newcomer = { key: spec.key, keepsContacts, seq: this.#lastSeq };
    return catchUp(this.picture, newcomer, () => this.#clock.nowMs());
  }

  #sampleLater(): void {
    this.#clock.after(SAMPLE_MS, () => {
      this.history.sample(this.#peerList);
      this.#sampleLater();
    });
  }

  #sweepLater(): void {
    this.#clock.after(SWEEP_MS, () => {
      const nowMs = this.#clock.nowMs();
      this.picture.sweep(nowMs);
      for (const peer of this.#peerList) {
        if (!peer.line.isFree) peer.pump(); // a day may have begun
        peer.sweep();
        const isAway = peer.awayMs(nowMs) > this.#limits.forgetMs && !this.#expected.has(peer.spec.key);
        if (isAway && !peer.outbox?.count) this.#remove(peer);
      }
      this.#outboxes?.sweep();
      this.#sweepLater();
    });
  }

  // --- seen from outside ---------------------------------------------------------------------------------------------

  peers(): readonly Peer[] {
    return this.#peerList;
  }

  /** The box's networks with the links that are in each; none: it is one. */
  get networkLinks(): ReadonlyMap<string, readonly string[]> {
    return this.#rulebook.networkLinks();
  }

  /** What peers did that are gone, by link, for every link that ever was; those of other networks than the main one by that, too. */
  get departed(): ReadonlyMap<string, Departed> {
    return this.#departed;
  }

  #departedOf(link: string, network: string): Departed {
    const key = network === MAIN_NETWORK ? link : `${link} ${network}`;
    const departed = this.#departed.get(key) ?? new Departed(link, network);
    this.#departed.set(key, departed);
    return departed;
  }

  /** Messages that waited for peers of before the restart that nobody has heard of since. */
  get unclaimed(): number {
    return this.#outboxes?.unclaimed ?? 0;
  }

  /** Closes every session. */
  closeAll(reason: CloseReason): void {
    for (const peer of this.#peerList) peer.session?.close(reason);
  }

  /** True while something waits that a connected peer could still be sent, or is on its way to the network. */
  backlog(): boolean {
    return this.#peerList.some(({ session, waits }) => session && (waits > 0 || session.busy));
  }
}
