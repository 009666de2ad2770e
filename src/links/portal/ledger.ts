// What was sent to a peer and what arrived, across the connections with it. Records are numbered without gaps; the far end
// acknowledges the highest it has taken in. What was not acknowledged when a connection ended goes back to the hub's queue
// and stays in doubt here, until the next connection says how far the last one came.
import { randomInt } from 'node:crypto';
import type { Envelope } from '../../core/message.ts';
import type { Returned } from '../../core/session.ts';
import { ProtocolError } from '../../lib/errors.ts';
import { Arrived } from './arrived.ts';

/** What was not known to have arrived before. */
export interface Acknowledged {
  readonly bytes: number;
  /** When the newest of them was sent, monotonic. */
  readonly sentMs: number;
  /** In order; of a record in pieces with the last one. */
  readonly envelopes: readonly Envelope[];
}

/** randomInt()'s widest range. */
const EPOCHS = 2 ** 48 - 1;

export class Ledger {
  /** Ours; new whenever our numbering begins anew. */
  readonly epoch = randomInt(1, EPOCHS);

  // Out
  #nextId = 1;
  /**
   * Sent on the present connection, not acknowledged, from index #from on, in order. Lists beside each other: an object for every
   * record to every peer that lives for a round trip is what garbage collection takes longest over.
   * Of a piece of a record that is not the last there is no envelope.
   */
  #envelopes: (Envelope | undefined)[] = [];
  #sizes: number[] = [];
  #times: number[] = [];
  #from = 0;
  /** Of earlier connections: envelopes in doubt and the numbers they had. */
  #doubt = new Map<Envelope, number>();
  readonly #arrived = new Arrived();

  // In
  #theirEpoch = 0;
  #taken = 0;
  #received = 0;

  /** The epoch of theirs that `received` counts in; 0: none yet. */
  get theirEpoch(): number {
    return this.#theirEpoch;
  }

  /** The highest record of theirs taken in. */
  get taken(): number {
    return this.#taken;
  }

  /** The highest that may be acknowledged: what was taken in up to it survives a power cut, where it must. */
  get received(): number {
    return this.#received;
  }

  /** The number of the next record. */
  get nextId(): number {
    return this.#nextId;
  }

  get unacknowledged(): number {
    return this.#envelopes.length - this.#from;
  }

  /** When the oldest unacknowledged record was sent; undefined: none. */
  get waitingSinceMs(): number | undefined {
    return this.#times[this.#from];
  }

  // --- out -----------------------------------------------------------------------------------------------------------

  /** True when the peer has it already: it need not be sent. */
  hasArrived(envelope: Envelope): boolean {
    return this.#arrived.has(envelope);
  }

  /** Notes that the record `nextId` was sent. */
  sent(envelope: Envelope | undefined, bytes: number, sentMs: number): void {
    this.#nextId++;
    this.#envelopes.push(envelope);
    this.#sizes.push(bytes);
    this.#times.push(sentMs);
  }

  /** Everything up to this number has arrived. undefined: that was known. Throws ProtocolError `ack_ahead`. */
  acknowledged(id: number): Acknowledged | undefined {
    if (id >= this.#nextId) throw ackAhead(id, this.#nextId - 1);
    const oldest = this.#nextId - this.unacknowledged;
    if (id < oldest) return undefined;
    const end = this.#from + id - oldest + 1;
    const envelopes: Envelope[] = [];
    let bytes = 0;
    for (let at = this.#from; at < end; at++) {
      bytes += this.#sizes[at]!;
      const envelope = this.#envelopes[at];
      if (!envelope) continue;
      this.#arrived.add(envelope);
      envelopes.push(envelope);
      this.#envelopes[at] = undefined;
    }
    const done = { bytes, sentMs: this.#times[end - 1]!, envelopes };
    this.#from = end;
    if (2 * end > this.#envelopes.length) this.#closeUp();
    return done;
  }

  /** The connection ended: what it had taken and is not known to have arrived, in order. */
  suspend(): Returned {
    const returned: Envelope[] = [];
    const oldest = this.#nextId - this.unacknowledged;
    for (let at = this.#from; at < this.#envelopes.length; at++) {
      const envelope = this.#envelopes[at];
      if (!envelope) continue;
      returned.push(envelope);
      this.#doubt.set(envelope, oldest + at - this.#from);
    }
    this.#from = this.#envelopes.length;
    this.#closeUp();
    return returned;
  }

  #closeUp(): void {
    for (const list of [this.#envelopes, this.#sizes, this.#times]) list.splice(0, this.#from);
    this.#from = 0;
  }

  /**
   * A new connection: the peer has taken in our records up to `id`, 0 when it knows nothing of our epoch. `kept`: it still
   * holds what it had acknowledged before, contacts included. Throws ProtocolError `ack_ahead`.
   */
  resume(id: number, kept: boolean): void {
    if (id >= this.#nextId) throw ackAhead(id, this.#nextId - 1);
    if (!kept) this.#arrived.clear();
    for (const [envelope, number] of this.#doubt) if (number <= id) this.#arrived.add(envelope);
    this.#doubt.clear();
    this.#nextId = id + 1;
  }

  // --- in ------------------------------------------------------------------------------------------------------------

  /** How far we have come with records of this epoch of theirs. */
  receivedOf(epoch: number): number {
    return epoch === this.#theirEpoch ? this.#received : 0;
  }

  /** Records of this epoch follow. */
  receiveFrom(epoch: number): void {
    this.#received = this.receivedOf(epoch);
    this.#taken = this.#received; // what was not acknowledged comes again
    this.#theirEpoch = epoch;
  }

  /** Takes in a numbered record. Throws ProtocolError `record_gap`: numbers go up by one, on every connection. */
  take(id: number): void {
    if (id !== this.#taken + 1) {
      throw new ProtocolError('record_gap', `record ${id} came after record ${this.#taken}`);
    }
    this.#taken = id;
  }

  /** Everything taken in up to this number may be acknowledged. */
  settled(id: number): void {
    this.#received = Math.max(this.#received, id);
  }
}

function ackAhead(id: number, sent: number): ProtocolError {
  return new ProtocolError('ack_ahead', `record ${id} was acknowledged, ${sent} was the last one sent`);
}
