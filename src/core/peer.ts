// A remote end we know. It outlives its sessions and owns its policy, its queue and its counters.
// Every message offered to it is, in the end, sent, dropped for a named reason, or still waiting: the books always balance.
import type { Clock } from '../lib/clock.ts';
import type { Announced, Told } from './announced.ts';
import type { Backlog } from './backlog.ts';
import type { LinkBudget, Spender } from './budget.ts';
import type { CatchUp } from './catch-up.ts';
import type { Departed } from './departed.ts';
import { Line } from './line.ts';
import {
  ALERT,
  type ContactNotice,
  type CotEvent,
  type Envelope,
  isDirected,
  isPositionLane,
  LANES,
  type Lane,
  type TrackOf,
} from './message.ts';
import { isKept, KEPT_LANES, type OnEvict, type PeerOutbox } from './outbox.ts';
import { isUnit, mayHop, type PermitContext, type Policy, permit, visibleGroups } from './policy.ts';
import { PeerQueue, type QueueLimits } from './queue.ts';
import { type CloseReason, countDrop, type DropCounts, type DropReason } from './reason.ts';
import { Screen } from './screen.ts';
import type { Pace, PeerSpec, Returned, Session } from './session.ts';
import type { Timings } from './timings.ts';

/** Messages of the current picture given to a late joiner per step, and the pause between steps. */
export const CATCH_UP_STEP = 25;
export const CATCH_UP_PAUSE_MS = 50;

/** Of each lane that is kept, taken up from the disk before they are needed. Fewer, all three together, than the smallest queue holds. */
const UNSHELVED = 5;

export interface LaneCounters {
  /** Came from it and was let in. */
  received: number;
  offered: number;
  sent: number;
  readonly dropped: DropCounts;
}

export interface PeerOptions {
  /** Tells it from all others, also from those of the same key before and after it. */
  readonly number: number;
  readonly spec: PeerSpec;
  readonly policy: Policy;
  readonly queue: QueueLimits;
  /** Its link's, shared with the others of that link. */
  readonly budget: LinkBudget;
  /** What waits for all peers. */
  readonly backlog: Backlog;
  readonly trackOf: TrackOf | undefined;
  /** Contacts, and who was told of them. */
  readonly announced: Announced;
  readonly clock: Clock;
  readonly timings: Timings;
  /** Where what must not be lost is kept; undefined: this peer does not outlive its connection. */
  outbox?(onEvict: OnEvict): PeerOutbox;
  /** The message that announces a contact. */
  noticeOf(uid: string, position?: Envelope): Envelope | undefined;
}

/** Of times: it has not happened. */
export const NEVER = Number.NEGATIVE_INFINITY;

export class Peer implements Spender {
  readonly number: number;
  spec: PeerSpec;
  policy: Policy;
  readonly queue: PeerQueue;
  readonly screen = new Screen();
  readonly line: Line;
  readonly outbox: PeerOutbox | undefined;

  // Kept by the session
  session: Session | undefined;
  /** The wire is not known to be full. */
  #ready = false;
  rttMs: number | undefined;
  saidName = '';
  /** What it is called here, whatever it says; '': nobody named it. */
  givenName = '';
  saidGroups: readonly string[] = [];
  upSinceWallMs: number | undefined;
  downSinceWallMs: number | undefined;
  #downSinceMs: number | undefined;
  /** Why it is not connected, in the words of the link that tries. */
  trouble: { readonly code: string; readonly words: string; readonly fix: string } | undefined;
  lastClose: { readonly reason: CloseReason; readonly words: string } | undefined;
  sessions = 0;

  // Counted on the way in
  readonly received = { events: 0, bytes: 0 };
  readonly refused: DropCounts = {};
  lastHeardMs: number | undefined;

  // Counted on the way out
  /** By connections that have ended. */
  #sentBytesBefore = 0;
  readonly lanes: readonly LaneCounters[] = LANES.map(() => ({ received: 0, offered: 0, sent: 0, dropped: {} }));
  /** Receipt time of the newest position handed to the wire, monotonic; NEVER: none was. (Always a number: V8 then writes it in place.) */
  newestSentMs = NEVER;
  /** Receipt time of the newest position that the peer has, monotonic. */
  newestArrivedMs = NEVER;

  readonly #options: PeerOptions;
  #catchUp: CatchUp | undefined;
  /** Waited, or came back, before the picture was told: not told twice. */
  #hadWaited: Set<Envelope> = new Set();
  #cancelCatchUp: (() => void) | undefined;
  /** When what waits for its time will be looked at. */
  #dueMs = Number.POSITIVE_INFINITY;
  #cancelDue: (() => void) | undefined;
  /** Contacts announced on this connection; undefined: its protocol announces none. */
  #introduced: Told | undefined;
  /** A session is being handed a message: what comes up meanwhile waits its turn. */
  #sending = false;
  /** It is being told what was before it came: that says nothing of how long the relay takes. */
  #telling = false;
  /** Where its sums went: the peer is no longer known. */
  #departed: Departed | undefined;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.number = options.number;
    this.spec = options.spec;
    this.policy = options.policy;
    this.line = new Line(options.budget, options.trackOf);
    this.queue = new PeerQueue(
      options.queue,
      (envelope, reason) => this.#drop(envelope, reason),
      options.outbox !== undefined,
      options.backlog,
    );
    this.outbox = options.outbox?.((lane, reason, envelope) => {
      if (envelope) this.queue.discard(envelope, reason);
      else this.#countDrop(lane, reason);
    });
    for (const lane of KEPT_LANES) this.lanes[lane]!.offered += this.outbox?.shelvedIn(lane) ?? 0;
  }

  // --- messages for it -----------------------------------------------------------------------------------------------

  /** Takes a message for this peer: onto the wire if it is free, else into the queue. Never waits. */
  offer(envelope: Envelope): void {
    if (this.#departed || this.#isNoNews(envelope)) return;
    const counters = this.lanes[envelope.lane]!;
    counters.offered++;
    const refusal = this.#refusal(envelope) ?? (this.#ruled ? this.#tooSoon(envelope) : undefined);
    // A leave that may not be told still ends the wait of where he was.
    if (refusal && !(isLeave(envelope) && this.queue.holds(envelope))) return countDrop(counters.dropped, refusal);
    const straight = this.#ready && !this.#sending && this.#isNext(envelope) && this.line.isFree;
    if (!straight || !this.#sendNow(envelope)) this.#wait([envelope], 'last');
    if (!this.#sending && this.queue.length > 0) this.#pumpQueue();
  }

  /** An alert waits. */
  get urgent(): boolean {
    return this.queue.lengthOf(ALERT) > 0 || (this.outbox?.shelvedIn(ALERT) ?? 0) > 0;
  }

  /** Nothing waits that must go before it. */
  #isNext(envelope: Envelope): boolean {
    return this.queue.length === 0 && (!isKept(envelope) || !this.outbox?.shelved);
  }

  /** Messages that wait: in the queue, and on disk alone. */
  get waits(): number {
    return this.queue.length + (this.outbox?.shelved ?? 0);
  }

  /** Ends what has waited too long. */
  sweep(): void {
    this.outbox?.trim();
  }

  /** While the wire takes messages: the queue first, then what a late joiner still has to be told. */
  pump(): void {
    if (this.#sending) return;
    this.#pumpQueue();
    if (this.#ready && !this.#cancelCatchUp) this.#tellSome();
  }

  /** The wire takes messages again. */
  writable(): void {
    this.#ready = true;
    this.pump();
  }

  /** A session took it, and cannot say it. */
  undeliverable(envelope: Envelope, reason: DropReason): void {
    const { lane } = envelope;
    this.outbox?.settle(envelope);
    this.lanes[lane]!.sent--;
    countDrop(this.lanes[lane]!.dropped, reason);
    this.#departed?.correct(lane, reason);
  }

  /** What a connection had taken but did not bring through waits again, before everything else. */
  takeBack(returned: Returned | undefined): void {
    if (!returned || returned.length === 0) return;
    const waits: Envelope[] = [];
    for (const envelope of returned) {
      const reason = this.#lostBy(envelope);
      if (reason) this.undeliverable(envelope, reason);
      else waits.push(envelope);
    }
    for (const envelope of waits) {
      this.lanes[envelope.lane]!.sent--;
      if (this.#catchUp) this.#hadWaited.add(envelope);
    }
    this.#wait(waits, 'first');
  }

  /** Why what came back need not wait again: a next connection, if there is one, was told itself who is where. */
  #lostBy(envelope: Envelope): DropReason | undefined {
    if (this.#departed) return 'peer_gone';
    const unit = unitOf(envelope);
    if (!this.session || unit === undefined) return undefined;
    return isLeave(envelope) && !this.#options.noticeOf(unit) ? undefined : 'superseded';
  }

  /** The session says that the peer has it. */
  arrived(envelope: Envelope): void {
    const { lane, receivedMs } = envelope;
    if (isPositionLane(lane) && receivedMs > this.newestArrivedMs) this.newestArrivedMs = receivedMs;
    if (!this.outbox || !isKept(envelope)) return;
    this.outbox.settle(envelope);
    if (this.queue.length === 0 && this.outbox.shelved > 0) this.pump();
  }

  pace(): Pace {
    return this.line.pace();
  }

  #pumpQueue(): void {
    while (this.#ready && this.waits > 0) {
      if (!this.line.budget.turn(this)) return;
      this.#unshelve();
      const nowMs = this.#options.clock.nowMs();
      const envelope = this.queue.take(nowMs, this.line.terms(nowMs));
      if (!envelope) return this.#pumpWhenDue();
      // Asked again: the policy may have changed while it waited, or the connection be of another kind.
      const refusal = this.#refusal(envelope);
      if (refusal) this.#drop(envelope, refusal);
      else if (!this.#send(envelope)) this.#wait([envelope], 'first');
    }
  }

  /** All that waits tells nothing new yet. */
  #pumpWhenDue(): void {
    const { clock } = this.#options;
    const dueMs = this.queue.nextDueMs;
    if (dueMs >= this.#dueMs) return;
    this.#cancelDue?.();
    this.#dueMs = dueMs;
    this.#cancelDue = clock.after(dueMs - clock.nowMs(), () => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#cancelDue = undefined;
      this.pump();
    });
  }

  #wait(envelopes: readonly Envelope[], end: 'first' | 'last'): void {
    if (this.#departed) for (const envelope of envelopes) this.#drop(envelope, 'peer_gone');
    else if (end === 'first') {
      for (const envelope of envelopes) this.#keep(envelope, true);
      this.queue.putBack(envelopes);
      this.outbox?.trim();
    } else this.#queueUp(envelopes[0]!);
  }

  #queueUp(envelope: Envelope): void {
    const kept = this.outbox && isKept(envelope) ? this.outbox : undefined;
    if (!kept || kept.keep(envelope, this.queue.holds(envelope))) this.queue.offer(envelope, this.line.dueMs(envelope));
    kept?.trim();
  }

  /** False: it waits on disk alone. */
  #keep(envelope: Envelope, inQueue: boolean): boolean {
    return !this.outbox || !isKept(envelope) || this.outbox.keep(envelope, inQueue);
  }

  /** Fills up from the disk what must not be lost. */
  #unshelve(): void {
    if (!this.outbox || this.outbox.shelved === 0) return;
    for (const lane of KEPT_LANES) {
      while (this.queue.lengthOf(lane) < UNSHELVED) {
        const envelope = this.outbox.unshelve(lane);
        if (!envelope) break;
        this.queue.offer(envelope);
      }
    }
  }

  #refusal(envelope: Envelope, reported?: CotEvent): DropReason | undefined {
    const refusal = permit(envelope, this.policy, this.#ruled ? this.#contextOf(envelope, reported) : undefined);
    if (refusal || !this.session) return refusal;
    if (this.line.cannotPay(envelope)) return 'rate_limited';
    if (this.session.federated && !mayHop(envelope)) return 'hop_limit';
    return this.session.carries(envelope.message) ? undefined : 'unsupported';
  }

  /** Most peers have no rules: for them nothing is looked up. */
  get #ruled(): boolean {
    return this.policy.rulesOut.length > 0;
  }

  #tooSoon(envelope: Envelope): DropReason | undefined {
    return this.screen.thin(envelope, this.policy, this.#options.clock.nowMs());
  }

  #contextOf({ message }: Envelope, reported: CotEvent | undefined): PermitContext {
    const nowMs = this.#options.clock.nowMs();
    if (message.kind !== 'contact') return { nowMs };
    return { nowMs, reported, told: message.op === 'delete' && this.#introduced?.has(message.contact.uid) };
  }

  /** One that has not waited. Where the peer says what it has, it is kept until then; else it was never in doubt. */
  #sendNow(envelope: Envelope): boolean {
    if (this.session?.acknowledges) this.#keep(envelope, true);
    return this.#send(envelope);
  }

  /** False: the wire is full, or gone. */
  #send(envelope: Envelope): boolean {
    this.#sending = true;
    try {
      return this.#say(envelope);
    } finally {
      this.#sending = false;
    }
  }

  #say(envelope: Envelope): boolean {
    const { message, lane } = envelope;
    const position = isPositionLane(lane) && message.kind === 'event';
    if (position && this.#introduced && !this.#introduce(envelope, message.event, this.#introduced)) return false;
    if (!this.#handOver(envelope)) return false;
    if (message.kind === 'contact') this.#note(message, envelope.seq);
    else if (position && envelope.receivedMs > this.newestSentMs) this.newestSentMs = envelope.receivedMs;
    if (!this.session?.acknowledges) this.arrived(envelope);
    return true;
  }

  #handOver(envelope: Envelope): boolean {
    if (!this.session?.send(envelope, visibleGroups(envelope, this.policy))) {
      this.#ready = false;
      return false;
    }
    this.lanes[envelope.lane]!.sent++;
    this.line.sent(envelope);
    if (!this.#telling) this.#options.timings.sent(envelope);
    return true;
  }

  #drop(envelope: Envelope, reason: DropReason): void {
    this.outbox?.settle(envelope);
    this.#countDrop(envelope.lane, reason);
  }

  #countDrop(lane: Lane, reason: DropReason): void {
    countDrop(this.lanes[lane]!.dropped, reason);
    if (this.#departed) countDrop(this.#departed.lanes[lane]!.dropped, reason);
  }

  // --- contacts ------------------------------------------------------------------------------------------------------

  /**
   * Whoever keeps contacts is told who it is before where it is, on the wire itself: whatever the policy was when the contact
   * became known, and whatever befell the queue since. False: the wire is full.
   */
  #introduce(envelope: Envelope, position: CotEvent, introduced: Told): boolean {
    const notice = this.#options.noticeOf(position.uid, envelope);
    if (!notice) return true;
    const message = notice.message as ContactNotice;
    if (introduced.knows(message.contact)) return true;
    if (notice.from === this.spec.key || this.#refusal(notice, position)) return true;
    if (!this.session?.meets || !saysAll(envelope.groups, notice.groups)) {
      if (!this.#handOver(notice)) return false;
      this.lanes[notice.lane]!.offered++;
    }
    this.#note(message, notice.seq);
    return true;
  }

  /** A contact it was told of by this name on this connection; or any, where the protocol has none: such a wire is not short of it. */
  #isNoNews({ message }: Envelope): boolean {
    if (message.kind !== 'contact') return false;
    if (this.session && !this.session.carries(message)) return true;
    return message.op !== 'delete' && this.#introduced?.knows(message.contact) === true;
  }

  #note({ op, contact }: ContactNotice, seq: number): void {
    if (op === 'delete') this.#introduced?.delete(contact.uid);
    else this.#introduced?.add(contact, seq);
  }

  // --- late joiners --------------------------------------------------------------------------------------------------

  #tellSome(): void {
    this.#telling = true;
    for (let step = 0; step < CATCH_UP_STEP && this.#ready && this.#catchUp; step++) {
      const { value } = this.#catchUp.next();
      if (!value) this.#catchUp = undefined;
      else if (!this.#hadWaited.has(value)) this.offer(value);
    }
    this.#telling = false;
    if (!this.#catchUp) return this.#hadWaited.clear();
    this.#cancelCatchUp = this.#options.clock.after(CATCH_UP_PAUSE_MS, () => {
      this.#cancelCatchUp = undefined;
      this.pump();
    });
  }

  // --- connections ---------------------------------------------------------------------------------------------------

  /** A connection is up: what waits goes first, then the picture, paced. */
  begin(session: Session, keepsContacts: boolean, catchUp: CatchUp): void {
    this.session = session;
    this.line.begin(session);
    this.#ready = true;
    this.sessions++;
    this.screen.begin();
    this.#catchUp = catchUp;
    this.#hadWaited = this.queue.waiting();
    this.queue.resume();
    this.#introduced = keepsContacts ? this.#options.announced.begin() : undefined;
    this.upSinceWallMs = this.#options.clock.wallMs();
    this.downSinceWallMs = undefined;
    this.#downSinceMs = undefined;
    this.trouble = undefined;
  }

  /** The connection ended. */
  end(reason: CloseReason, words: string, returned: Returned | undefined): void {
    this.detach();
    this.lastClose = { reason, words };
    this.takeBack(returned);
  }

  /** Lets go of the connection, if there is one: from here on it is not this peer's. */
  detach(): Session | undefined {
    const { session } = this;
    if (!session) return undefined;
    this.session = undefined;
    this.#sentBytesBefore += session.sentBytes ?? 0;
    this.line.end();
    this.#ready = false;
    this.rttMs = undefined;
    this.#introduced?.end();
    this.#introduced = undefined;
    this.#catchUp = undefined;
    this.#cancelCatchUp?.();
    this.#cancelCatchUp = undefined;
    this.upSinceWallMs = undefined;
    this.downSinceWallMs = this.#options.clock.wallMs();
    this.#downSinceMs = this.#options.clock.nowMs();
    return session;
  }

  /** It is no longer known: what waits is lost, and all it did counts among the departed. */
  depart(departed: Departed): void {
    this.queue.clear('peer_gone');
    this.outbox?.clear('peer_gone');
    this.line.budget.leave(this);
    this.#cancelDue?.();
    departed.add(this);
    this.#departed = departed;
  }

  /** Over all its connections, as far as they count. */
  get sentBytes(): number {
    return this.#sentBytesBefore + (this.session?.sentBytes ?? 0);
  }

  /** For how long it has had no connection, milliseconds; 0 while it has one, or when it never had. */
  awayMs(nowMs: number): number {
    return this.#downSinceMs === undefined ? 0 : nowMs - this.#downSinceMs;
  }
}

/** Whom a message speaks of, where the picture has the newest word of him too. */
function unitOf({ message }: Envelope): string | undefined {
  if (message.kind === 'contact') return message.contact.uid;
  return message.kind === 'event' && isUnit(message.event) && !isDirected(message.event)
    ? message.event.uid
    : undefined;
}

function saysAll(groups: readonly string[], wanted: readonly string[]): boolean {
  return groups === wanted || wanted.every((group) => groups.includes(group));
}

function isLeave({ message }: Envelope): boolean {
  return message.kind === 'contact' && message.op === 'delete';
}
