// Records on one connection, the way out: numbered, packed where that pays, batched, in pieces where they are large, and no more
// under way than arrives within about a second. The way in is events-in.ts.
import { THIN_BPS } from '../../core/line.ts';
import { ALERT, type Envelope, isPositionLane, type Provenance } from '../../core/message.ts';
import { HEADS_BYTES } from '../../core/pace.ts';
import type { Returned, SessionPort } from '../../core/session.ts';
import { FRAME, HEAD_BYTES, portalFrame, setBodyLength } from '../../wire/portal.ts';
import { chunkField } from '../../wire/portal-pieces.ts';
import { ASK_FIELD, briefField, leadingFields, recordOf, sharedField } from '../../wire/portal-record.ts';
import type { LinkContext } from '../link.ts';
import type { Outlet } from '../outlet.ts';
import { ChunksOut, EVENTS, FILES, type Piece } from './chunks.ts';
import type { EventsIn } from './events-in.ts';
import type { Ledger } from './ledger.ts';
import {
  ASKED_WINDOW_BYTES,
  EVENTS_EXTRA_BYTES,
  GREETED_WINDOW_BYTES,
  MAX_BODY,
  MAX_PIECE_BYTES,
  MAX_WHOLE_EVENT,
  QUICK_BPS,
  QUICK_RTT_MS,
} from './limits.ts';
import { PackOut, type Precision } from './packing.ts';
import type { Skills } from './skills.ts';
import type { Window } from './window.ts';

/**
 * `plain`: the peer does not acknowledge, and what the network took counts as sent. `held`: not yet known how far the peer
 * came. `numbered`: what is not acknowledged is in doubt.
 */
type OutState = 'plain' | 'held' | 'numbered';

/** What of the peer outlives the connection. */
export interface EventsPeer {
  readonly ledger: Ledger;
  readonly window: Window;
  readonly counts: Counts;
  readonly packing: Packing;
}

/** Messages handed to the network, and taken in. */
export interface Counts {
  sent: number;
  received: number;
}

export interface Packing {
  /** `auto`: on lines that are thin, or may be. */
  readonly compress: 'auto' | 'on' | 'off';
  readonly positions: Precision;
}

/** A record as a field of Events, and what to note when it was said. */
interface Field {
  readonly bytes: Buffer;
  readonly envelope: Envelope | undefined;
  commit(): void;
}

export class EventsOut {
  port: SessionPort | undefined;
  readonly #outlet: Outlet;
  readonly #in: EventsIn;
  readonly #peer: EventsPeer;
  readonly #self: Provenance;
  readonly #context: LinkContext;
  /** Of the way without queues. */
  readonly #rttMs: () => number;
  /** Files and missions in pieces. */
  readonly #chunks = new ChunksOut(FILES);
  /** An event in pieces; one at a time. */
  readonly #cut = new ChunksOut(EVENTS);
  /** The peer takes events in pieces, and records without their sender. */
  #brief = false;
  /** undefined: the peer does not unpack. */
  #pack: PackOut | undefined;
  #state: OutState = 'plain';
  #heldMs = 0;
  /** send() said no for want of an acknowledgement. */
  #full = false;
  /** The EVENT frame of this turn that further records are added to. */
  #batch: { readonly head: Buffer; bodyLength: number; asks: boolean } | undefined;
  #cancelLater: (() => void) | undefined;

  constructor(outlet: Outlet, eventsIn: EventsIn, peer: EventsPeer, context: LinkContext, rttMs: () => number) {
    this.#outlet = outlet;
    this.#in = eventsIn;
    this.#peer = peer;
    this.#self = context.node;
    this.#context = context;
    this.#rttMs = rttMs;
  }

  get held(): boolean {
    return this.#state === 'held';
  }

  get acknowledges(): boolean {
    return this.#state !== 'plain';
  }

  /** Since when an acknowledgement is awaited, monotonic; undefined: none is. */
  get owedSinceMs(): number | undefined {
    if (this.#state === 'held') return this.#heldMs;
    return this.#state === 'numbered' ? this.#peer.ledger.waitingSinceMs : undefined;
  }

  /** How long what is under way may take. */
  get delayMs(): number {
    return this.owedSinceMs === undefined ? 0 : this.#peer.window.delayMs;
  }

  /** Records wait here that the network has not seen. */
  get busy(): boolean {
    return this.#chunks.length + this.#cut.length > 0;
  }

  /** Nothing is taken until number(). */
  hold(): void {
    this.#state = 'held';
    this.#heldMs = this.#context.clock.nowMs();
  }

  /** The peer has our records up to `received`. Throws ProtocolError. */
  number({ acknowledges, unpacks, brief }: Skills, received: number, kept: boolean): void {
    this.#peer.ledger.resume(received, kept);
    this.#state = acknowledges ? 'numbered' : 'plain';
    this.#peer.window.begin(this.#rttMs(), unpacks ? ASKED_WINDOW_BYTES : GREETED_WINDOW_BYTES);
    this.#pack = acknowledges && unpacks ? new PackOut() : undefined;
    this.#brief = brief;
  }

  send(envelope: Envelope, groups: readonly string[]): boolean {
    if (this.#state === 'held') return false;
    if (this.#state === 'numbered' && this.#peer.ledger.hasArrived(envelope)) {
      this.port?.arrived(envelope);
      return true;
    }
    const nowMs = this.#context.clock.nowMs();
    const field = this.#fieldOf(envelope, groups, Math.max(0, Math.floor(nowMs - envelope.receivedMs)));
    if (!field) return this.#undeliverable(envelope, 'unsupported');
    if (isTooLarge(field.bytes)) return this.#undeliverable(envelope, 'too_large');
    const taken =
      this.#state === 'plain' ? this.#push(field.bytes, envelope) : this.#sendNumbered(field, groups, nowMs);
    if (taken) this.#peer.counts.sent++;
    return taken;
  }

  /** The wire has taken what was collected, or another frame stands behind it: the next record begins a frame of its own. */
  flushed(): void {
    this.#batch = undefined;
  }

  /** The wire takes more. */
  writable(): void {
    this.#full = true;
    this.#goOn();
  }

  /** Throws ProtocolError. */
  acknowledged(id: number): void {
    if (this.#state !== 'numbered') return;
    const done = this.#peer.ledger.acknowledged(id);
    if (!done) return;
    this.#peer.window.acknowledged(done.bytes, done.sentMs, this.#context.clock.nowMs(), this.#rttMs());
    for (const envelope of done.envelopes) this.port?.arrived(envelope);
    this.#goOn();
  }

  /** What is not known to have arrived, in order. */
  close(): Returned {
    this.#cancelLater?.();
    const inDoubt = this.#peer.ledger.suspend();
    const numbered = new Set(inDoubt);
    const unsent = this.#outlet.close().filter((envelope) => !numbered.has(envelope));
    this.#peer.window.reset();
    return [...unsent, ...inDoubt, ...this.#cut.close(), ...this.#chunks.close()];
  }

  // --- records -------------------------------------------------------------------------------------------------------

  #sendNumbered(field: Field & { readonly envelope: Envelope }, groups: readonly string[], nowMs: number): boolean {
    const { window } = this.#peer;
    const { bytes, envelope } = field;
    if (this.#pack) {
      const pieceBytes = this.#pieceBytes();
      if (this.#cut.length > 0 && !this.#mayPass(envelope, pieceBytes)) return this.#refuse();
      if (bytes.length > pieceBytes) {
        if (bytes.length > wholeBytes(envelope))
          return this.#takeLarge(envelope, recordOf(envelope, groups, this.#self));
        if (this.#brief && isCut(envelope)) return this.#takeCut(field);
      }
      if (this.#chunks.isDue(pieceBytes)) this.#sendPieces(this.#chunks, 1);
    }
    if (!window.room(bytes.length)) {
      this.#full = true;
      return false;
    }
    if (!this.#say(field, nowMs)) return false;
    this.#chunks.passed(bytes.length);
    this.#cut.passed(bytes.length);
    if (this.#cut.length > 0 && envelope.lane !== ALERT) this.#rideAlong(nowMs);
    return true;
  }

  /** A piece in the packet of another record has no heads of its own: half a second of the line is more, and that is its share. */
  #rideAlong(nowMs: number): void {
    const piece = this.#cut.next(this.#pieceBytes() + HEADS_BYTES);
    if (piece && this.#sayPiece(this.#cut, piece, nowMs)) this.#cut.settle();
  }

  /** Beside an event in pieces: what is more urgent, and positions, in turns with the pieces. Never another word of the same thing. */
  #mayPass({ lane, conflate }: Envelope, pieceBytes: number): boolean {
    if (lane === ALERT) return true;
    return (
      isPositionLane(lane) &&
      !this.#cut.isDue(pieceBytes) &&
      (conflate === '' || conflate !== this.#cut.first?.conflate)
    );
  }

  /** Not before the next pieces have gone. */
  #refuse(): boolean {
    this.#full = true;
    this.#later();
    return false;
  }

  #fieldOf(envelope: Envelope, groups: readonly string[], ageMs: number) {
    const self = this.#self;
    try {
      if (this.#pack && this.#packs()) {
        const record = recordOf(envelope, groups, self);
        const packed = this.#pack.plan(envelope, record, ageMs, this.#peer.packing.positions);
        if (packed) return { bytes: packed.field, envelope, commit: packed.commit };
      } else if (this.#brief && this.#isThin) {
        const bytes = briefField(envelope, groups, ageMs);
        if (bytes) return { bytes, envelope, commit: nothing };
      }
      return { bytes: sharedField(envelope, groups, self, ageMs), envelope, commit: nothing };
    } catch (error) {
      // Not the fault of whoever sent it just now: his session must not end for it.
      this.#context.log.error({ err: error, kind: envelope.message.kind }, 'could not encode a message');
      return undefined;
    }
  }

  /** Onto the wire, if that has room. */
  #say({ bytes, envelope, commit }: Field, nowMs: number): boolean {
    const { window, ledger } = this.#peer;
    window.sent(bytes.length, nowMs);
    if (!this.#push(bytes, envelope)) {
      window.unsent(bytes.length);
      return false;
    }
    commit();
    ledger.sent(envelope, bytes.length, nowMs);
    return true;
  }

  /** Into the frame of this turn while that has room: all records of a turn share one. */
  #push(field: Buffer, envelope: Envelope | undefined): boolean {
    const batch = this.#batch;
    // Where it is going to wait for an acknowledgement it says so: others may come late, in fewer frames.
    const asks = this.#pack !== undefined && !batch?.asks && this.#peer.window.isHalfFull;
    const bytes = asks ? Buffer.concat([field, ASK_FIELD]) : field;
    if (batch && batch.bodyLength + bytes.length <= MAX_BODY) {
      if (!this.#outlet.push(bytes, envelope)) return false;
      batch.bodyLength += bytes.length;
      batch.asks ||= asks;
      setBodyLength(batch.head, batch.bodyLength);
      return true;
    }
    const first = this.#state === 'numbered' ? this.#peer.ledger.nextId : 0;
    const head = portalFrame(FRAME.event, leadingFields(this.#in.unsaid, first));
    const bodyLength = head.length - HEAD_BYTES + bytes.length;
    setBodyLength(head, bodyLength);
    if (!this.#outlet.push(bytes, envelope, head)) return false;
    this.#in.said();
    this.#batch = { head, bodyLength, asks };
    return true;
  }

  /** A line that is not known to be thin, and answers at once, is spared the work; but not while it has half of what it may have. */
  #packs(): boolean {
    const { compress } = this.#peer.packing;
    if (compress !== 'auto') return compress === 'on';
    const rateBps = this.port?.pace().rateBps;
    if (rateBps !== undefined) return rateBps < QUICK_BPS;
    return this.#rttMs() > QUICK_RTT_MS || this.#peer.window.isHalfFull;
  }

  /** Nothing is packed, but bytes are short. */
  get #isThin(): boolean {
    return this.#peer.packing.compress === 'off' && (this.port?.pace().rateBps ?? THIN_BPS) < THIN_BPS;
  }

  #undeliverable(envelope: Envelope, reason: 'unsupported' | 'too_large'): boolean {
    this.port?.undeliverable(reason, envelope);
    return true;
  }

  // --- large ones ----------------------------------------------------------------------------------------------------

  #pieceBytes(): number {
    return Math.min(MAX_PIECE_BYTES, this.port?.pace().recordBytes ?? MAX_PIECE_BYTES);
  }

  #takeLarge(envelope: Envelope, record: Buffer): boolean {
    const taken = this.#chunks.add(envelope, record);
    if (!taken) this.#full = true;
    this.#later();
    return taken;
  }

  /** An event: its first piece goes now, or it is not taken. What it was packed beside is what both ends remember at that moment. */
  #takeCut({ bytes, envelope, commit }: Field & { readonly envelope: Envelope }): boolean {
    this.#cut.add(envelope, bytes, commit);
    if (this.#sendPieces(this.#cut, 1) === 0) {
      this.#cut.close();
      this.#full = true;
      return false;
    }
    this.#later();
    return true;
  }

  /** So many pieces, while there is room. Returns how many. */
  #sendPieces(chunks: ChunksOut, most: number): number {
    const nowMs = this.#context.clock.nowMs();
    for (let count = 0; count < most; count++) {
      const piece = chunks.next(this.#pieceBytes());
      if (!piece) return count;
      if (!this.#peer.window.room(chunkField(piece.chunk).length)) return count;
      if (!this.#sayPiece(chunks, piece, nowMs)) return count;
    }
    return most;
  }

  #sayPiece(chunks: ChunksOut, piece: Piece, nowMs: number): boolean {
    const bytes = chunkField(piece.chunk);
    return this.#say({ bytes, envelope: piece.envelope, commit: () => chunks.sent(piece) }, nowMs);
  }

  // --- what comes later ----------------------------------------------------------------------------------------------

  #later(): void {
    this.#cancelLater ??= this.#context.clock.after(0, () => {
      this.#cancelLater = undefined;
      this.#goOn();
    });
  }

  /** There may be room: first for what the hub has, then for pieces. */
  #goOn(): void {
    if (this.#full) {
      this.#full = false;
      this.port?.writable();
    }
    if (this.#cut.length > 0) {
      this.#sendPieces(this.#cut, Number.POSITIVE_INFINITY);
      if (this.#cut.length === 0 && this.#full) this.#later();
      return;
    }
    // The hub may have more of what goes in pieces only: there is room nevertheless.
    if (!this.#full || this.#chunks.isFull) this.#sendPieces(this.#chunks, Number.POSITIVE_INFINITY);
  }
}

const nothing = () => {};

/** A larger record waits its turn among large ones, and can no longer be replaced: that is for files and missions, not for a drawing. */
function wholeBytes({ message }: Envelope): number {
  return message.kind === 'event' || message.kind === 'contact' ? MAX_WHOLE_EVENT : 0;
}

/** Nothing goes before an alert; and a position in pieces could not be replaced by a newer one. */
function isCut({ message, lane }: Envelope): boolean {
  return message.kind === 'event' && lane !== ALERT && !isPositionLane(lane);
}

function isTooLarge(field: Buffer): boolean {
  return field.length > MAX_BODY - EVENTS_EXTRA_BYTES;
}
