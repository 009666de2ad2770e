// Who can be reached, and through which peers. Directed messages find their way by it.
import { type Contact, type Envelope, sizeOf } from './message.ts';
import { Shares } from './shares.ts';

export interface RosterLimits {
  readonly contacts: number;
  /** Bytes of the notices that announce them. */
  readonly bytes: number;
  /** Peers remembered as ways to one contact. */
  readonly ways: number;
  /** Contacts of one callsign that are found by it; further ones by their uid only. */
  readonly namesakes: number;
}

/** A peer behind which the contact is. */
export interface Way {
  readonly peer: string;
  /** The first server of its provenance: whose contact it is, as far as is known. '' : nobody said. */
  readonly origin: string;
  /** That server is the peer itself, as far as is known. */
  readonly isDirect?: boolean;
}

export interface RosterEntry {
  readonly contact: Contact;
  /** The latest used first. */
  readonly via: readonly Way[];
  /** The message that announces it to peers that keep contacts. */
  readonly notice: Envelope;
}

/** A callsign that several claim who come by different peers. */
export interface SharedCallsign {
  readonly callsign: string;
  /** Keys of these peers. */
  readonly peers: readonly string[];
}

export class Roster {
  readonly #limits: RosterLimits;
  readonly #entries: Shares<RosterEntry>;
  readonly #uidsByCallsign = new Map<string, Set<string>>();
  /** Those that more than one uid has. */
  readonly #shared = new Set<string>();
  readonly #uidsByPeer = new Map<string, Set<string>>();

  constructor(limits: RosterLimits) {
    this.#limits = limits;
    this.#entries = new Shares({
      entries: limits.contacts,
      bytes: limits.bytes,
      sizeOf: ({ notice }) => sizeOf(notice),
      ownerOf,
      onForget: (_, entry) => this.#unindex(entry),
    });
  }

  get size(): number {
    return this.#entries.size;
  }

  uids(): string[] {
    return this.#entries.keys();
  }

  entry(uid: string): RosterEntry | undefined {
    return this.#entries.get(uid);
  }

  /** Uids known under a callsign. */
  withCallsign(callsign: string): Iterable<string> {
    return this.#uidsByCallsign.get(callsign) ?? [];
  }

  /** Callsigns to which chat goes by more than one peer; `most` of them. */
  shared(most: number): readonly SharedCallsign[] {
    const found: SharedCallsign[] = [];
    for (const callsign of this.#shared) {
      if (found.length === most) break;
      const peers = [...new Set(Array.from(this.withCallsign(callsign), (uid) => ownerOf(this.#entries.get(uid)!)))];
      if (peers.length > 1) found.push({ callsign, peers });
    }
    return found;
  }

  /** Makes the contact known by way of a peer, under this name. */
  enrol(contact: Contact, way: Way, notice: Envelope): void {
    const before = this.#entries.get(contact.uid);
    const entry = { contact, via: this.#first(way, before?.via ?? []), notice };
    if (before) this.#unindex(before);
    this.#index(entry);
    this.#entries.set(contact.uid, entry);
  }

  /** A contact that is known spoke: this is now the first way to it. */
  renew(entry: RosterEntry, way: Way): void {
    const { uid } = entry.contact;
    const [first] = entry.via;
    if (first!.peer === way.peer && first!.origin === way.origin) return this.#entries.renew(uid);
    this.#entries.set(uid, this.#rerouted(entry, this.#first(way, entry.via)));
  }

  /** Another peer knows the contact too: a way if the others fail. */
  addWay(uid: string, way: Way): void {
    const entry = this.#entries.get(uid);
    if (!entry || entry.via.length >= this.#limits.ways || entry.via.some(({ peer }) => peer === way.peer)) return;
    this.#entries.replace(uid, this.#rerouted(entry, [...entry.via, way]));
  }

  /**
   * The contact left, says this peer: the ways through it end, and all others that have it from the same server, as those only
   * repeat what that server said before. But a server that tells us of it itself is believed before those who speak in its name.
   * Returns the entry when no way is left.
   */
  leave(uid: string, left: Way): RosterEntry | undefined {
    const entry = this.#entries.get(uid);
    if (!entry) return undefined;
    const isOver = ({ peer, origin, isDirect }: Way) =>
      peer === left.peer || (origin !== '' && origin === left.origin && !isDirect);
    const via = entry.via.filter((way) => !isOver(way));
    if (via.length > 0) {
      this.#entries.replace(uid, this.#rerouted(entry, via));
      return undefined;
    }
    this.#unindex(entry);
    this.#entries.delete(uid);
    return entry;
  }

  /** Uids that have this peer among their ways. */
  reachedBy(peer: string): string[] {
    return [...(this.#uidsByPeer.get(peer) ?? [])];
  }

  #first(way: Way, others: readonly Way[]): readonly Way[] {
    return [way, ...others.filter(({ peer }) => peer !== way.peer)].slice(0, this.#limits.ways);
  }

  /** The entry with other ways to it, which the index by peer knows. */
  #rerouted(entry: RosterEntry, via: readonly Way[]): RosterEntry {
    const { uid } = entry.contact;
    for (const { peer } of entry.via) remove(this.#uidsByPeer, peer, uid);
    for (const { peer } of via) add(this.#uidsByPeer, peer, uid);
    return { ...entry, via };
  }

  #index({ contact, via }: RosterEntry): void {
    for (const { peer } of via) add(this.#uidsByPeer, peer, contact.uid);
    this.#name(contact, via[0]!.peer);
  }

  /** Makes the contact found by its callsign: whoever has claimed it most often gives way to who has less. */
  #name({ callsign, uid }: Contact, peer: string): void {
    const uids = this.#uidsByCallsign.get(callsign);
    if (!uids || uids.size < this.#limits.namesakes) return this.#addName(callsign, uid);
    const claims = new Map<string, string[]>([[peer, []]]);
    for (const one of uids) {
      const owner = ownerOf(this.#entries.get(one)!);
      const theirs = claims.get(owner);
      if (theirs) theirs.push(one);
      else claims.set(owner, [one]);
    }
    const most = [...claims.values()].reduce((a, b) => (b.length > a.length ? b : a));
    if (most.length <= claims.get(peer)!.length + 1) return;
    uids.delete(most.at(-1)!);
    uids.add(uid);
  }

  #addName(callsign: string, uid: string): void {
    add(this.#uidsByCallsign, callsign, uid);
    if (this.#uidsByCallsign.get(callsign)!.size > 1) this.#shared.add(callsign);
  }

  #unindex({ contact, via }: RosterEntry): void {
    for (const { peer } of via) remove(this.#uidsByPeer, peer, contact.uid);
    remove(this.#uidsByCallsign, contact.callsign, contact.uid);
    if ((this.#uidsByCallsign.get(contact.callsign)?.size ?? 0) < 2) this.#shared.delete(contact.callsign);
  }
}

/** The peer through which the contact was heard last. */
function ownerOf({ via }: RosterEntry): string {
  return via[0]!.peer;
}

function add(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  if (values) values.add(value);
  else index.set(key, new Set([value]));
}

function remove(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  values?.delete(value);
  if (values?.size === 0) index.delete(key);
}
