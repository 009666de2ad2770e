// Contacts come, are renamed and go: who hears of it, and which peers a directed message must take to reach them.
import { isFirstHand } from './claims.ts';
import type { EventLog } from './events.ts';
import type { LastWays } from './last-ways.ts';
import {
  type Contact,
  type ContactNotice,
  type CotEvent,
  type Envelope,
  type Inbound,
  isDirected,
  type Message,
  type Provenance,
} from './message.ts';
import type { Peer } from './peer.ts';
import type { Picture } from './picture.ts';
import { countDrop } from './reason.ts';
import type { Roster, RosterEntry, Way } from './roster.ts';
import { Unheard } from './unheard.ts';

/** TAK Server's name for a destination that is everybody. */
const EVERYBODY = 'All Streaming';

/** What a notice of ours says of its way: that of the message it was made from. */
type Stamps = Pick<Inbound, 'wire' | 'groups' | 'provenance' | 'hops'>;

/** What is asked of the hub. */
export interface ContactsHub {
  readonly lastWays: LastWays;
  peer(key: string): Peer | undefined;
  /** The notice as it is routed. */
  make(notice: ContactNotice, stamps: Stamps, from: Peer): Envelope;
  offerAll(envelope: Envelope, from: Peer): void;
}

/** Asked of a session to learn whether its protocol announces contacts. */
export const ANY_CONTACT: Message = { kind: 'contact', op: 'create', contact: { uid: '', callsign: '' } };

export class Contacts {
  readonly #picture: Picture;
  readonly #roster: Roster;
  readonly #events: EventLog;
  readonly #hub: ContactsHub;
  readonly #unheard = new Unheard();

  /** Whoever spoke last was known before; nobody was told otherwise since. */
  #lastMet: { readonly position: Envelope; readonly notice: Envelope } | undefined;

  constructor(picture: Picture, events: EventLog, hub: ContactsHub) {
    this.#picture = picture;
    this.#roster = picture.roster;
    this.#events = events;
    this.#hub = hub;
  }

  /** The message that announces a contact; `position`: of whom it is asked, when it is for that. */
  noticeOf(uid: string, position?: Envelope): Envelope | undefined {
    // Asked for every peer in a row.
    if (position && this.#lastMet?.position === position) return this.#lastMet.notice;
    return this.#roster.entry(uid)?.notice;
  }

  // --- coming and going ----------------------------------------------------------------------------------------------

  /** A unit spoke: it can be reached through this peer. Whoever keeps contacts is told with the position (peer.ts). */
  met(peer: Peer, position: Envelope, event: CotEvent): void {
    const { uid, callsign, type, team } = event;
    if (callsign === '') return;
    this.#unheard.heard(peer.spec.key, uid);
    const entry = this.#roster.entry(uid);
    const way = wayThrough(peer, position.provenance);
    if (entry && entry.via[0]!.peer !== peer.spec.key && !this.#mayTakeOver(peer, entry, position, event)) {
      return this.#roster.addWay(uid, way);
    }
    const isOurs = entry && peer.policy.border?.lets(entry.notice) !== false;
    if (isOurs && stillTells(entry.notice, position, event)) {
      this.#lastMet = { position, notice: entry.notice };
      return this.#roster.renew(entry, way);
    }
    // TAK says groups with contacts, and by default not with positions (tak-federation §2.8).
    const groups = position.groups.length > 0 ? position.groups : entry?.notice.groups;
    const { provenance, hops } = position;
    const notice: ContactNotice = {
      kind: 'contact',
      op: 'create',
      contact: { uid, callsign },
      unitType: type,
      unitTeam: team,
    };
    this.#enrol(peer, way, this.#hub.make(notice, { groups, provenance, hops }, peer));
  }

  /** False: another has that uid, is still there, and keeps it. */
  #mayTakeOver(peer: Peer, { via, contact }: RosterEntry, position: Envelope, event: CotEvent): boolean {
    const before = this.#hub.peer(via[0]!.peer);
    if (!before || !isFirstHand(position, peer)) return true;
    const { holds, claim } = this.#picture.claims.spoke(event, { peer: before, callsign: contact.callsign }, peer);
    if (claim) this.#events.add({ type: 'uid_claimed', ...claim });
    return holds;
  }

  /** A copy of what a unit said came by this peer too. */
  metAgain(peer: Peer, uid: string, provenance: readonly Provenance[] | undefined): void {
    this.#unheard.heard(peer.spec.key, uid);
    this.#roster.addWay(uid, wayThrough(peer, provenance));
  }

  /** A peer announced that a contact is there, or is no longer. */
  said(peer: Peer, notice: ContactNotice, inbound: Inbound): void {
    if (notice.op === 'delete') this.#saidLeft(peer, notice, inbound);
    else this.#saidThere(peer, notice, inbound);
  }

  /** A peer is gone, and with it everybody who was reached through it alone. */
  leave(peer: Peer): void {
    this.#unheard.end(peer.spec.key);
    this.#picture.claims.left(peer.spec.key);
    this.#lose(peer, this.#roster.reachedBy(peer.spec.key));
  }

  /** A peer tells anew who is behind it. */
  tellsAnew(peer: Peer): void {
    this.#unheard.begin(peer.spec.key, this.#roster.reachedBy(peer.spec.key));
  }

  /** It has not named everybody yet. */
  waitsFor(peer: Peer): boolean {
    return this.#unheard.waitsFor(peer.spec.key);
  }

  /** It has had the time to. */
  leaveUnheard(peer: Peer): void {
    this.#lose(peer, this.#unheard.end(peer.spec.key));
  }

  /** They are no longer reached through this peer. */
  #lose(peer: Peer, uids: Iterable<string>): void {
    for (const uid of uids) {
      const left = this.#roster.leave(uid, wayThrough(peer, undefined));
      if (left) this.#left(peer, left, {});
    }
  }

  #saidThere(peer: Peer, { kind, op, contact }: ContactNotice, inbound: Inbound): void {
    this.#unheard.heard(peer.spec.key, contact.uid);
    const way = wayThrough(peer, inbound.provenance);
    const known = this.#roster.entry(contact.uid);
    if (known?.contact.callsign === contact.callsign && peer.policy.border?.lets(known.notice) !== false) {
      this.#roster.addWay(contact.uid, way);
      return countDrop(peer.refused, 'duplicate');
    }
    const unit = this.#picture.latest(contact.uid)?.message;
    const { type: unitType, team: unitTeam } = unit?.kind === 'event' ? unit.event : {};
    const notice = this.#hub.make({ kind, op, contact, unitType, unitTeam }, inbound, peer);
    this.#enrol(peer, way, notice);
    this.#hub.offerAll(notice, peer);
  }

  #saidLeft(peer: Peer, { contact: { uid } }: ContactNotice, inbound: Inbound): void {
    const entry = this.#roster.entry(uid);
    if (entry && !entry.via.some((way) => way.peer === peer.spec.key)) return countDrop(peer.refused, 'filtered_in');
    const left = this.#roster.leave(uid, wayThrough(peer, inbound.provenance));
    if (!left) return countDrop(peer.refused, 'duplicate');
    this.#hub.lastWays.left(uid);
    this.#left(peer, left, inbound);
  }

  #enrol(peer: Peer, way: Way, notice: Envelope): void {
    const { contact } = notice.message as ContactNotice;
    const known = this.#roster.entry(contact.uid)?.contact;
    this.#roster.enrol(contact, way, notice);
    this.#lastMet = undefined;
    if (peer.spec.durable) this.#hub.lastWays.met(contact.uid, contact.callsign, peer.spec.key);
    if (known?.callsign === contact.callsign) return;
    this.#events.add({ type: 'contact_joined', ...contact, peer: peer.spec.key });
    const holder = this.#holderBeside(peer.spec.key, contact);
    if (holder) this.#events.add({ type: 'callsign_shared', ...contact, peer: peer.spec.key, holder });
  }

  /** Who has the callsign, too, by another peer: said when this peer first claims it, and not for its every claim. */
  #holderBeside(key: string, { callsign, uid }: Contact): { readonly uid: string; readonly peer: string } | undefined {
    let holder: { readonly uid: string; readonly peer: string } | undefined;
    for (const other of callsign === '' ? [] : this.#roster.withCallsign(callsign)) {
      if (other === uid) continue;
      const { peer } = this.#roster.entry(other)!.via[0]!;
      if (peer === key) return undefined;
      holder ??= { uid: other, peer };
    }
    return holder;
  }

  /** The last way to a contact ended: told to those who might know that it was there. */
  #left(peer: Peer, { contact, notice }: RosterEntry, { groups, provenance, hops }: Stamps): void {
    this.#picture.forget(contact.uid);
    this.#lastMet = undefined;
    this.#events.add({ type: 'contact_left', ...contact, peer: peer.spec.key });
    const { unitType, unitTeam } = notice.message as ContactNotice;
    const stamps = { groups: notice.groups.length > 0 ? notice.groups : groups, provenance, hops };
    this.#hub.offerAll(
      this.#hub.make({ kind: 'contact', op: 'delete', contact, unitType, unitTeam }, stamps, peer),
      peer,
    );
  }

  // --- finding the way -----------------------------------------------------------------------------------------------

  /** The peers behind which the addressees of an event are; undefined when it is for everybody. */
  addressees(event: CotEvent, from: Peer): ReadonlySet<Peer> | undefined {
    const chat = event.chatId !== '' && event.type.startsWith('b-t-f');
    const uids = isDirected(event)
      ? event.destUids
      : chat && (this.#roster.entry(event.chatId) ?? this.#hub.lastWays.to(event.chatId))
        ? [event.chatId]
        : undefined;
    if (!uids || event.destCallsigns.includes(EVERYBODY)) return undefined;
    const found = new Set<Peer>();
    const add = (uid: string) => {
      const peer = this.#wayTo(uid, from);
      if (peer) found.add(peer);
    };
    for (const uid of new Set(uids)) add(uid);
    for (const callsign of new Set(event.destCallsigns)) {
      const there = [...this.#roster.withCallsign(callsign)];
      for (const uid of there.length > 0 ? there : this.#hub.lastWays.withCallsign(callsign)) add(uid);
    }
    return found;
  }

  /** A peer that is connected, else one that may come back; never the one that asks. Of nobody there the way last known. */
  #wayTo(uid: string, from: Peer): Peer | undefined {
    let away: Peer | undefined;
    for (const way of this.#roster.entry(uid)?.via ?? []) {
      const peer = this.#hub.peer(way.peer);
      if (!peer || peer === from || isApart(peer, from)) continue;
      if (peer.session) return peer;
      away ??= peer;
    }
    if (away) return away;
    const last = this.#hub.peer(this.#hub.lastWays.to(uid) ?? '');
    return !last || last === from || isApart(last, from) ? undefined : last;
  }
}

/** They are in networks of this box of which the one gets nothing from the other. */
function isApart({ policy }: Peer, from: Peer): boolean {
  return policy.border?.opensTo(from.policy.network) === false;
}

function wayThrough({ spec }: Peer, provenance: readonly Provenance[] | undefined): Way {
  return { peer: spec.key, origin: provenance?.[0]?.id ?? '', isDirect: provenance?.length === 1 };
}

/** True when the notice tells what the unit now says of itself. */
function stillTells({ message, groups }: Envelope, position: Envelope, { callsign, type, team }: CotEvent): boolean {
  const { contact, unitType, unitTeam } = message as ContactNotice;
  if (contact.callsign !== callsign || unitType !== type || unitTeam !== team) return false;
  const now = position.groups;
  return now.length === 0 || (now.length === groups.length && now.every((group, index) => group === groups[index]));
}
