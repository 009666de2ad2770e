// Records on one connection, the way in: read, counted and acknowledged.
import type { Provenance } from '../../core/message.ts';
import type { SessionPort } from '../../core/session.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { FRAME, portalFrame } from '../../wire/portal.ts';
import type { Chunk, CollectField } from '../../wire/portal-pieces.ts';
import {
  ackedField,
  inboundOf,
  type PortalRecord,
  type Reading,
  scanEvents,
  type Unpack,
} from '../../wire/portal-record.ts';
import type { LinkContext } from '../link.ts';
import type { Outlet } from '../outlet.ts';
import { ChunksIn } from './chunks.ts';
import type { Counts, EventsPeer } from './events.ts';
import type { Ledger } from './ledger.ts';
import {
  ACK_BYTES,
  ACK_MS,
  ACK_RECORDS,
  CHUNK_WAIT_MS,
  MAX_EVENT_PIECES,
  MAX_MALFORMED_RUN,
  SLOW_ACK_MS,
} from './limits.ts';
import { PackIn } from './packing.ts';
import type { Skills } from './skills.ts';

export class EventsIn {
  port: SessionPort | undefined;
  readonly #outlet: Outlet;
  readonly #ledger: Ledger;
  readonly #counts: Counts;
  readonly #context: LinkContext;
  #numbered = false;
  #malformedRun = 0;
  #saidId = 0;
  #unsaidBytes = 0;
  #cancelAck: (() => void) | undefined;
  #closed = false;
  /** How the peer's records are read, when it may pack them. */
  #reading: Reading | undefined;
  readonly #chunks = new ChunksIn();
  #cancelChunk: (() => void) | undefined;
  readonly #eventChunks = new ChunksIn(MAX_EVENT_PIECES);
  /** How the event will be read of which pieces have come. */
  #unpackEvent: Unpack | undefined;
  /** What the peer calls itself. */
  #sender: Provenance | undefined;
  readonly #charge: (bytes: number) => void;

  /** `charge`: told of bytes that came out of fewer. */
  constructor(outlet: Outlet, peer: EventsPeer, context: LinkContext, charge: (bytes: number) => void) {
    this.#charge = charge;
    this.#outlet = outlet;
    this.#ledger = peer.ledger;
    this.#counts = peer.counts;
    this.#context = context;
  }

  /** The peer numbers its records and wants them acknowledged. What was received up to now it knows. */
  number({ unpacks, node }: Skills): void {
    this.#sender = node;
    this.#numbered = true;
    this.#saidId = this.#ledger.received;
    if (!unpacks) return;
    const pack = new PackIn(this.#charge);
    this.#reading = {
      unpack: pack.unpack,
      collect: (chunk) => this.#collect(chunk),
      collectField: (chunk) => this.#collectField(chunk, pack),
      onPiece: (id, size) => this.#count(id, size),
    };
  }

  get numbered(): boolean {
    return this.#numbered;
  }

  /** The acknowledgement to say by the way; 0: none is due. */
  get unsaid(): number {
    return this.#numbered && this.#ledger.received > this.#saidId ? this.#ledger.received : 0;
  }

  /** The acknowledgement was said, or is being said now. Returns it. */
  said(): number {
    this.#cancelAck?.();
    this.#cancelAck = undefined;
    this.#unsaidBytes = 0;
    this.#saidId = this.#ledger.received;
    return this.#saidId;
  }

  /** Reads an EVENT frame. Returns what it acknowledges. Throws ProtocolError. */
  events(body: Buffer): number {
    const { acked, asks } = scanEvents(body, (record) => this.#take(record), this.#reading);
    if (this.#numbered) this.#settle(asks);
    return acked;
  }

  /** The last acknowledgement, as a frame; undefined: none is due. */
  close(): Buffer | undefined {
    this.#closed = true;
    this.#cancelAck?.();
    this.#cancelChunk?.();
    return this.unsaid > 0 ? portalFrame(FRAME.event, ackedField(this.#ledger.received)) : undefined;
  }

  /** What was taken in is acknowledged once it survives a power cut: until then the peer keeps it. */
  #settle(asks: boolean): void {
    const { taken } = this.#ledger;
    if (taken === this.#ledger.received) return;
    let waited = false;
    const settled = () => {
      if (this.#closed) return; // the next connection has numbers of its own
      this.#ledger.settled(taken);
      if (this.unsaid === 0) return;
      if (!waited) return this.#acknowledge(asks);
      this.#cancelAck?.();
      this.#cancelAck = this.#context.clock.after(0, () => this.#sayNow());
    };
    if (this.port) this.port.safely(settled);
    else settled();
    waited = true;
  }

  #take(record: PortalRecord): void {
    if (this.#closed) return;
    this.#count(record.id, record.size);
    try {
      const found = inboundOf(record.isSenders ? this.#withSender(record) : record);
      this.#malformedRun = 0;
      this.#counts.received++;
      if (found === 'hop_limit') this.port?.refused(found, record.size);
      else for (const inbound of found) this.port?.deliver(inbound);
    } catch (error) {
      this.#malformed(error, record.size);
    }
  }

  #count(id: number, size: number): void {
    if (this.#closed || !this.#numbered || id === 0) return;
    this.#ledger.take(id);
    this.#unsaidBytes += size;
  }

  /** Whoever begins a large record and does not go on with it does not keep our memory. */
  #collect(chunk: Chunk): Buffer | undefined {
    this.#cancelChunk?.();
    const whole = this.#chunks.take(chunk);
    this.#cancelChunk = whole ? undefined : this.#context.clock.after(CHUNK_WAIT_MS, () => this.#giveUp());
    return whole;
  }

  /** An event's pieces come one soon after the other: it is small, and nothing but what is more urgent goes between. */
  #collectField(chunk: Chunk, pack: PackIn): ReturnType<CollectField> {
    if (chunk.total > 0) this.#unpackEvent = pack.unpackLater();
    const field = this.#eventChunks.take(chunk);
    return field && { field, unpack: this.#unpackEvent! };
  }

  /** From a peer that does not say who it is nothing is known of where it has been. */
  #withSender(record: PortalRecord): PortalRecord {
    if (!this.#sender) throw new ProtocolError('portal_sender', 'a record of one that is not known');
    return { ...record, provenance: [...record.provenance, this.#sender] };
  }

  #giveUp(): void {
    this.port?.refused('malformed', this.#chunks.held);
    this.#chunks.giveUp();
  }

  /** One bad record is counted and passed over: the framing still holds. */
  #malformed(error: unknown, size: number): void {
    if (!(error instanceof ProtocolError)) throw error;
    this.port?.refused('malformed', size);
    this.#context.log.debug({ code: error.code, size }, 'record refused');
    if (++this.#malformedRun < MAX_MALFORMED_RUN) return;
    const words = `${MAX_MALFORMED_RUN} records in a row could not be read; the last: ${error.message}`;
    throw new ProtocolError('malformed_run', words);
  }

  #acknowledge(asks: boolean): void {
    const records = this.#ledger.received - this.#saidId;
    if (asks || this.#unsaidBytes >= ACK_BYTES || records >= ACK_RECORDS) return this.#sayNow();
    // One that asks where it waits need not be answered sooner.
    const waitMs = this.#reading ? SLOW_ACK_MS : ACK_MS;
    this.#cancelAck ??= this.#context.clock.after(waitMs, () => this.#sayNow());
  }

  #sayNow(): void {
    this.#cancelAck?.();
    this.#cancelAck = undefined;
    if (this.#closed || this.unsaid === 0) return;
    const frame = portalFrame(FRAME.event, ackedField(this.#ledger.received));
    if (this.#outlet.control(frame, 'first')) this.said();
    else this.#cancelAck = this.#context.clock.after(ACK_MS, () => this.#sayNow());
  }
}
