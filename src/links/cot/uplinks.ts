// The connections to a server that knows one contact for each connection. To the hub they are one session: what a phone of ours
// says goes by the phone's own connection, all else by the main one; what is for everybody is taken from the main one alone,
// what is for a phone from his.
import { type CotEvent, type Envelope, type Inbound, isDirected, type Message } from '../../core/message.ts';
import { isUnit } from '../../core/policy.ts';
import type { CloseReason, DropReason } from '../../core/reason.ts';
import type { Pace, PeerIdentity, PeerSpec, Returned, Session, SessionPort } from '../../core/session.ts';
import { scanCot } from '../../wire/cot.ts';
import { withMartiDest } from '../../wire/cot-write.ts';
import { xmlFromTak } from '../../wire/tak.ts';
import type { LinkContext } from '../link.ts';
import { Heard } from './heard.ts';
import {
  MAX_FROM,
  MAX_HELD,
  UPLINK_BPS,
  UPLINK_EVERY_MS,
  UPLINK_GRACE_MS,
  UPLINK_HOLD_MS,
  UPLINK_SWEEP_MS,
} from './limits.ts';
import type { Refuser } from './refuser.ts';
import { Sharing } from './sharing.ts';
import { type OpenSession, Uplink, type WritePosition } from './uplink.ts';

export interface UplinksOptions {
  /** Most connections beside the main one. */
  readonly limit: number;
  readonly open: OpenSession;
  readonly write: WritePosition;
  /** What this server is known for over several runs of the link. */
  readonly refuser: Refuser;
  readonly context: LinkContext;
}

/** An event that came for a phone without saying so: it waits whether the main connection brings it, too. */
interface Held {
  readonly inbound: Inbound;
  readonly uids: Set<string>;
  readonly cancel: () => void;
}

/** Several units are behind this peer: only their positions say whose they are. */
const SEVERAL = Symbol('several');

export class Uplinks implements Session {
  readonly federated = false;
  readonly #options: UplinksOptions;
  readonly #context: LinkContext;
  readonly #sharing: Sharing;
  readonly #uplinks = new Map<string, Uplink>();
  /** Uid of the unit that a peer is; SEVERAL: of more than one. */
  readonly #byFrom = new Map<string, string | typeof SEVERAL>();
  readonly #heard = new Heard();
  readonly #held = new Map<string, Held>();
  #main!: Session;
  #port!: SessionPort;
  /** What is to go by the main connection before all else: its own way broke. */
  #owed: Envelope[] = [];
  /** Bytes sent for phones that are gone. */
  #sentBefore = 0;
  /** A connection is being opened, or one was a moment ago. */
  #opening = false;
  #open = true;
  #cancelTimer = () => {};

  constructor(options: UplinksOptions) {
    this.#options = options;
    this.#context = options.context;
    this.#sharing = new Sharing(options.context);
  }

  /** The main connection is up. */
  attach(spec: PeerSpec, main: Session): SessionPort {
    this.#main = main;
    this.#port = this.#context.hub.attach(spec, this);
    this.#sweepLater();
    return new MainPort(this.#port, this);
  }

  /** Ends all connections of phones. Resolves with every socket closed. */
  async end(): Promise<void> {
    this.#stop();
    await Promise.all([...this.#uplinks.values()].map((uplink) => uplink.close()));
  }

  // --- as the hub sees it --------------------------------------------------------------------------------------------

  get identity(): PeerIdentity {
    return this.#main.identity;
  }

  get address(): string {
    return this.#main.address;
  }

  get via(): string | undefined {
    return this.#main.via;
  }

  get busy(): boolean {
    return this.#main.busy === true || this.#owed.length > 0 || [...this.#uplinks.values()].some(({ busy }) => busy);
  }

  get sentBytes(): number {
    let sum = (this.#main.sentBytes ?? 0) + this.#sentBefore;
    for (const { sentBytes } of this.#uplinks.values()) sum += sentBytes;
    return sum;
  }

  carries(message: Message): boolean {
    return this.#main.carries(message);
  }

  close(reason: CloseReason): void {
    this.#main.close(reason);
  }

  /** By the connection of the phone that says it, if there is one and it has room: nobody waits for one phone's. */
  send(envelope: Envelope): boolean {
    const { message } = envelope;
    if (!this.#payOwed()) return false;
    if (message.kind === 'contact' && this.#left(envelope, message.contact.uid)) return true;
    if (message.kind !== 'event') return this.#main.send(envelope, envelope.groups);
    if (this.#uplinkFor(envelope, message.event)?.send(envelope)) return true;
    if (!isUnit(message.event)) this.#heard.note(message.event);
    return this.#main.send(envelope, envelope.groups);
  }

  #uplinkFor(envelope: Envelope, event: CotEvent): Uplink | undefined {
    if (isPhone(event)) return this.#meet(envelope, event);
    const uid = this.#byFrom.get(envelope.from);
    return typeof uid === 'string' ? this.#uplinks.get(uid) : undefined;
  }

  // --- phones come and go --------------------------------------------------------------------------------------------

  /** A phone says where it is. */
  #meet(position: Envelope, event: CotEvent): Uplink | undefined {
    this.#noteFrom(position.from, event.uid);
    const known = this.#uplinks.get(event.uid);
    if (known?.isForeign(position, event.callsign)) return undefined;
    if (known && known.callsign !== event.callsign) {
      this.#drop(known); // the server keeps the first callsign of a connection
      return this.#meet(position, event);
    }
    if (known) {
      const notice = known.here(position);
      if (notice) this.#port.undeliverable('superseded', notice);
      return known;
    }
    // Whoever connected to this box, or is on a mesh: peers that we dial have no such key (PeerSpec).
    const isLocal = position.from.includes('/') && position.provenance.length === 0;
    if (!isLocal || this.#uplinks.size >= this.#allowed || !this.#options.write(position)) {
      this.#sharing.add(event.uid, event.callsign, this.#why);
      return undefined;
    }
    const uplink = new Uplink(position, event, this.#context);
    this.#uplinks.set(event.uid, uplink);
    this.#openNext();
    return uplink;
  }

  /** Whose the other messages of a peer are: a phone's, while no other unit reports by the same peer. */
  #noteFrom(from: string, uid: string): void {
    const known = this.#byFrom.get(from);
    if (known === uid || known === SEVERAL) return;
    this.#byFrom.set(from, known === undefined ? uid : SEVERAL);
    if (this.#byFrom.size > MAX_FROM) this.#byFrom.delete(this.#byFrom.keys().next().value!);
  }

  get #allowed(): number {
    const { limit, refuser } = this.#options;
    if (refuser.refuses(this.#context.clock.nowMs())) return 0;
    const { rateBps } = this.#port.pace();
    return rateBps === undefined ? limit : Math.min(limit, Math.floor(rateBps / UPLINK_BPS));
  }

  /** What there is to do about phones that have no connection of their own. */
  get #why(): string {
    const { limit, refuser } = this.#options;
    if (refuser.refuses(this.#context.clock.nowMs())) return refuser.words;
    const { rateBps } = this.#port.pace();
    if (rateBps !== undefined && rateBps / UPLINK_BPS < limit) {
      return `The line carries ${Math.round(rateBps / 1000)} kbit/s, and each phone’s own connection takes ${UPLINK_BPS / 1000}: federate with the server.`;
    }
    return `Raise per_phone of this link (now ${limit}), or federate with the server.`;
  }

  /** True: the notice is kept back for a while, because the phone has a connection that says it when it ends. */
  #left(notice: Envelope, uid: string): boolean {
    this.#sharing.delete(uid);
    const uplink = this.#uplinks.get(uid);
    uplink?.left(notice, UPLINK_GRACE_MS, (late) => {
      this.#drop(uplink);
      this.#owe([late]);
    });
    return uplink !== undefined;
  }

  #drop(uplink: Uplink): void {
    this.#uplinks.delete(uplink.uid);
    this.#sharing.delete(uplink.uid);
    this.#sentBefore += uplink.sentBytes;
    void uplink.close();
    this.#tell();
  }

  /** One at a time, with a pause between: a server is not stormed, whatever comes up at once. */
  #openNext(): void {
    const { clock } = this.#context;
    if (!this.#open || this.#opening) return;
    const waiting = [...this.#uplinks.values()].filter((uplink) => uplink.waiting);
    const next = waiting.find(({ dueMs }) => dueMs <= clock.nowMs());
    this.#cancelTimer();
    if (!next) {
      const dueMs = Math.min(...waiting.map((uplink) => uplink.dueMs));
      if (waiting.length > 0) this.#cancelTimer = clock.after(dueMs - clock.nowMs(), () => this.#openNext());
      return;
    }
    this.#opening = true;
    const { open, write, refuser } = this.#options;
    const port = new UplinkPort(next, this.#port, this);
    const ended = () => this.#changed(next);
    void next.open(open, write, port, ended).then(() => {
      if (next.up) refuser.opened(clock.nowMs());
      this.#changed(next);
      this.#cancelTimer = clock.after(UPLINK_EVERY_MS, () => {
        this.#opening = false;
        this.#openNext();
      });
    });
  }

  #changed(uplink: Uplink): void {
    if (!this.#open || this.#uplinks.get(uplink.uid) !== uplink) return;
    if (uplink.up) this.#sharing.delete(uplink.uid);
    else this.#sharing.add(uplink.uid, uplink.callsign, `The phone’s own connection failed: ${uplink.trouble}.`);
    this.#tell();
    this.#openNext();
  }

  #tell(): void {
    const count = [...this.#uplinks.values()].filter(({ up }) => up).length;
    const more = count === 0 ? '' : `, and ${count} ${count === 1 ? 'phone' : 'phones'} by connections of their own`;
    if (this.#open) this.#context.report('connected', `${this.address}${more}`);
  }

  /** Phones that said nothing for long, and of whom nobody said that they left. */
  #sweepLater(): void {
    this.#context.clock.after(UPLINK_SWEEP_MS, () => {
      if (!this.#open) return;
      const nowMs = this.#context.clock.nowMs();
      for (const uplink of this.#uplinks.values()) {
        if (uplink.staleMs + UPLINK_GRACE_MS < nowMs) this.#drop(uplink);
      }
      this.#sweepLater();
    });
  }

  // --- what comes in -------------------------------------------------------------------------------------------------

  /** By the main connection. */
  mainHeard(inbound: Inbound): void {
    const { message, size } = inbound;
    if (message.kind !== 'event') return this.#port.deliver(inbound);
    const { event } = message;
    // What a phone of ours said by its connection, sent round by the server.
    if (isUnit(event) && this.#uplinks.has(event.uid)) return this.#port.refused('loop', size);
    if (!isUnit(event)) this.#isForAll(event);
    this.#port.deliver(inbound);
  }

  #isForAll(event: CotEvent): void {
    const id = this.#heard.note(event);
    const held = this.#held.get(id);
    if (!held) return;
    held.cancel();
    this.#held.delete(id);
    this.#port.refused('duplicate', held.inbound.size);
  }

  /** By the connection of a phone: only what is for this phone is news. */
  uplinkHeard({ uid, callsign }: Uplink, inbound: Inbound): void {
    const { message, size } = inbound;
    if (message.kind !== 'event') return this.#port.refused('duplicate', size);
    const { event } = message;
    const isChat = event.chatId === uid && event.type.startsWith('b-t-f');
    if (isChat || event.destUids.includes(uid) || event.destCallsigns.includes(callsign)) {
      return this.#port.deliver(inbound);
    }
    if (isDirected(event) || isUnit(event) || this.#heard.has(event)) return this.#port.refused('duplicate', size);
    this.#hold(uid, inbound, event);
  }

  /** Servers may take the addresses away. What is for everybody comes by the main connection as well, a little sooner or later. */
  #hold(uid: string, inbound: Inbound, event: CotEvent): void {
    const id = this.#heard.idOf(event);
    const held = this.#held.get(id);
    if (held || this.#held.size >= MAX_HELD) {
      held?.uids.add(uid);
      return this.#port.refused(held ? 'duplicate' : 'rate_limited', inbound.size);
    }
    const uids = new Set([uid]);
    const cancel = this.#context.clock.after(UPLINK_HOLD_MS, () => {
      this.#held.delete(id);
      this.#deliverTo([...uids], inbound);
    });
    this.#held.set(id, { inbound, uids, cancel });
  }

  #deliverTo(uids: readonly string[], { wire, size, ...rest }: Inbound): void {
    const xml = wire!.format === 'tak' ? xmlFromTak(wire!.bytes) : wire!.bytes;
    const bytes = withMartiDest(xml, uids, []);
    const event = scanCot(bytes);
    if (!isDirected(event)) return this.#port.refused('unsupported', size);
    this.#port.deliver({ ...rest, message: { kind: 'event', event }, wire: { format: 'xml', bytes }, size });
  }

  // --- what a connection could not send ------------------------------------------------------------------------------

  owe(envelopes: readonly Envelope[]): void {
    this.#owe(envelopes);
  }

  #owe(envelopes: readonly Envelope[]): void {
    this.#owed.push(...envelopes);
    this.#payOwed();
  }

  /** False: the main connection is full. */
  #payOwed(): boolean {
    while (this.#owed.length > 0 && this.#open) {
      if (!this.#main.send(this.#owed[0]!, this.#owed[0]!.groups)) return false;
      this.#owed.shift();
    }
    return true;
  }

  mainWritable(): void {
    if (this.#payOwed()) this.#port.writable();
  }

  /** The main connection is over, and with it all others. */
  mainClosed(reason: CloseReason, cause: Error | undefined, returned: Returned | undefined): void {
    this.#options.refuser.mainEnded(reason, this.#context.clock.nowMs());
    this.#stop();
    for (const uplink of this.#uplinks.values()) void uplink.close(); // what they had taken is owed from here on
    this.#port.closed(reason, cause, [...(returned ?? []), ...this.#owed]);
  }

  #stop(): void {
    this.#open = false;
    this.#cancelTimer();
    this.#sharing.end();
    for (const { cancel } of this.#held.values()) cancel();
    this.#held.clear();
  }
}

/** Somebody who can be written to: what has no endpoint is a sensor, an aircraft, a marker. */
function isPhone(event: CotEvent): boolean {
  return isUnit(event) && !isDirected(event) && event.callsign !== '' && event.endpoint !== '';
}

/** The port of the main connection. */
class MainPort implements SessionPort {
  readonly #port: SessionPort;
  readonly #uplinks: Uplinks;

  constructor(port: SessionPort, uplinks: Uplinks) {
    this.#port = port;
    this.#uplinks = uplinks;
  }

  deliver(inbound: Inbound): void {
    this.#uplinks.mainHeard(inbound);
  }

  refused(reason: DropReason, size: number): void {
    this.#port.refused(reason, size);
  }

  undeliverable(reason: DropReason, envelope: Envelope): void {
    this.#port.undeliverable(reason, envelope);
  }

  safely(done: () => void): void {
    this.#port.safely(done);
  }

  writable(): void {
    this.#uplinks.mainWritable();
  }

  arrived(envelope: Envelope): void {
    this.#port.arrived(envelope);
  }

  pace(): Pace {
    return this.#port.pace();
  }

  rtt(ms: number): void {
    this.#port.rtt(ms);
  }

  named(name: string): void {
    this.#port.named(name);
  }

  tellsAnew(): void {
    this.#port.tellsAnew();
  }

  groups(names: readonly string[]): void {
    this.#port.groups(names);
  }

  closed(reason: CloseReason, cause?: Error, returned?: Returned): void {
    this.#uplinks.mainClosed(reason, cause, returned);
  }
}

/** The port of a phone's connection: the hub knows nothing of it. */
class UplinkPort extends MainPort {
  readonly #uplink: Uplink;
  readonly #all: Uplinks;

  constructor(uplink: Uplink, port: SessionPort, uplinks: Uplinks) {
    super(port, uplinks);
    this.#uplink = uplink;
    this.#all = uplinks;
  }

  override deliver(inbound: Inbound): void {
    this.#all.uplinkHeard(this.#uplink, inbound);
  }

  /** What it had no room for went by the main connection. */
  override writable(): void {}

  override rtt(): void {}

  override closed(_reason: CloseReason, _cause?: Error, returned?: Returned): void {
    this.#all.owe(returned ?? []);
  }
}
