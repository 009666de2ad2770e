// Which contacts were announced on which connection. A hub with 64 federates tells each of the same thousands: they are remembered
// once for all connections, and of each connection two bits a contact.
import type { Contact } from './message.ts';

/** Contacts remembered. Of those forgotten some may be announced again. */
const MAX_CONTACTS = 20_000;

interface Place {
  /** Of its bits. */
  readonly index: number;
  /** By which it was announced last, and in the message of which number. */
  callsign: string;
  seq: number;
}

export class Announced {
  readonly #most: number;
  /** By uid, the one announced first at the front. */
  readonly #places = new Map<string, Place>();
  readonly #connections = new Set<Told>();
  /** Asked for by every connection in a row. */
  #lastUid: string | undefined;
  #lastPlace: Place | undefined;

  constructor(most = MAX_CONTACTS) {
    this.#most = most;
  }

  /** For a connection that begins; to be ended with it. */
  begin(): Told {
    const told = new Told(this, () => this.#connections.delete(told));
    this.#connections.add(told);
    return told;
  }

  placeOf(uid: string): Place | undefined {
    if (uid !== this.#lastUid) {
      this.#lastUid = uid;
      this.#lastPlace = this.#places.get(uid);
    }
    return this.#lastPlace;
  }

  /** The place of a contact that is announced. Has it another callsign than before, nobody was told of it by that. */
  claim({ uid, callsign }: Contact, seq: number): Place {
    const known = this.placeOf(uid);
    if (!known) return this.#add(uid, callsign, seq);
    if (seq < known.seq) return known; // it waited, and the contact has another name by now
    if (known.callsign !== callsign) for (const told of this.#connections) told.renamed(known.index);
    known.callsign = callsign;
    known.seq = seq;
    return known;
  }

  #add(uid: string, callsign: string, seq: number): Place {
    const index = this.#places.size < this.#most ? this.#places.size : this.#makeRoom();
    const place = { index, callsign, seq };
    this.#places.set(uid, place);
    this.#lastUid = undefined;
    return place;
  }

  /** Index of the place of the contact that was announced first. */
  #makeRoom(): number {
    const [uid, { index }] = this.#places.entries().next().value!;
    this.#places.delete(uid);
    for (const told of this.#connections) told.clear(index);
    return index;
  }
}

/** What one connection was told. */
export class Told {
  readonly end: () => void;
  readonly #shared: Announced;
  readonly #byAnyName = new Bits();
  readonly #byThisName = new Bits();

  constructor(shared: Announced, end: () => void) {
    this.#shared = shared;
    this.end = end;
  }

  /** It was told that the contact is there, by whatever callsign. */
  has(uid: string): boolean {
    const place = this.#shared.placeOf(uid);
    return place !== undefined && this.#byAnyName.has(place.index);
  }

  /** It was told, by this callsign. */
  knows({ uid, callsign }: Contact): boolean {
    const place = this.#shared.placeOf(uid);
    return place?.callsign === callsign && this.#byThisName.has(place.index);
  }

  /** @param seq number of the message that told it */
  add(contact: Contact, seq: number): void {
    const { index, callsign } = this.#shared.claim(contact, seq);
    this.#byAnyName.add(index);
    if (callsign === contact.callsign) this.#byThisName.add(index);
    else this.#byThisName.delete(index);
  }

  delete(uid: string): void {
    const place = this.#shared.placeOf(uid);
    if (place) this.clear(place.index);
  }

  /** Whoever has that place now goes by another name. */
  renamed(index: number): void {
    this.#byThisName.delete(index);
  }

  clear(index: number): void {
    this.#byAnyName.delete(index);
    this.#byThisName.delete(index);
  }
}

/** A set of small numbers. */
class Bits {
  /** Signed: of an unsigned word above 2 ** 31 V8 makes an object each time it is read. */
  #words = new Int32Array(0);

  has(index: number): boolean {
    return ((this.#words[index >>> 5] ?? 0) & (1 << (index & 31))) !== 0;
  }

  add(index: number): void {
    const at = index >>> 5;
    if (at >= this.#words.length) {
      const grown = new Int32Array(Math.max(at + 1, 2 * this.#words.length));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words[at]! |= 1 << (index & 31);
  }

  delete(index: number): void {
    if (index >>> 5 < this.#words.length) this.#words[index >>> 5]! &= ~(1 << (index & 31));
  }
}
