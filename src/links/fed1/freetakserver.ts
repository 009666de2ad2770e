// FreeTAKServer: the first schema, the whole detail as XML, addressees by callsign, and times in a zone of its own.
import type { CotEvent, Envelope } from '../../core/message.ts';
import { isUnit } from '../../core/policy.ts';
import type { Clock } from '../../lib/clock.ts';
import { asXml, memo } from '../../wire/encode.ts';
import { type FederatedScan, scanFederated } from '../../wire/federation.ts';
import { plainContact, plainFederated, shiftFederated } from '../../wire/federation-plain.ts';
import type { Dialect } from './dialect.ts';
import { MAX_CONTACTS } from './limits.ts';
import type { Zone } from './zone.ts';

export interface FtsOptions {
  readonly clock: Clock;
  readonly zone: Zone;
  /** The zone was found to be another. */
  onZone(offsetMs: number): void;
}

export class FreeTakServerDialect implements Dialect {
  readonly #options: FtsOptions;
  /** Callsigns of the contacts it announced, by uid: it finds addressees by callsign alone. */
  readonly #theirs = new Map<string, string>();
  /** Uids announced to it: what it says of them it has from us, and tells nothing of its clock. */
  readonly #ours = new Set<string>();

  constructor(options: FtsOptions) {
    this.#options = options;
  }

  encode(envelope: Envelope, _groups: readonly string[], announced?: Envelope): Buffer {
    const { message } = envelope;
    if (message.kind === 'contact') {
      this.#note(message.op, message.contact.uid);
      return memo(envelope, 'fts contact', () => plainContact(message.op, message.contact));
    }
    if (message.kind !== 'event') throw new TypeError(`FreeTAKServer cannot be told a ${message.kind}`);
    const event = this.#addressed(message.event);
    const contact = announced?.message.kind === 'contact' ? announced.message.contact : undefined;
    if (contact) this.#note('create', contact.uid);
    const { offsetMs } = this.#options.zone;
    const make = () => plainFederated(asXml(envelope), moved(event, -offsetMs), contact);
    // Shared with other such servers, but for what only this one is told.
    return contact || event !== message.event ? make() : memo(envelope, `fts ${offsetMs}`, make);
  }

  read(payload: Buffer): Buffer {
    const { event } = scanFederated(payload);
    if (!event) return payload;
    const { clock, zone, onZone } = this.#options;
    const tells = isUnit(event) && !this.#ours.has(event.uid);
    if (tells && zone.vote(event.uid, clock.wallMs() - event.timeMs, clock.nowMs())) onZone(zone.offsetMs);
    return zone.offsetMs === 0 ? payload : shiftFederated(payload, zone.offsetMs);
  }

  heard({ contact }: FederatedScan): void {
    if (!contact) return;
    const { uid, callsign } = contact.contact;
    this.#theirs.delete(uid);
    if (contact.op === 'delete') return;
    this.#theirs.set(uid, callsign);
    if (this.#theirs.size > MAX_CONTACTS) this.#theirs.delete(this.#theirs.keys().next().value!);
  }

  /** The event with the callsigns of addressees that are named by uid. The same when there are none. */
  #addressed(event: CotEvent): CotEvent {
    const uids = event.destUids.length > 0 ? event.destUids : event.chatId === '' ? [] : [event.chatId];
    const callsigns = uids.flatMap((uid) => this.#theirs.get(uid) || []);
    const missing = callsigns.filter((callsign) => !event.destCallsigns.includes(callsign));
    return missing.length === 0 ? event : { ...event, destCallsigns: [...event.destCallsigns, ...new Set(missing)] };
  }

  #note(op: 'create' | 'update' | 'delete', uid: string): void {
    this.#ours.delete(uid);
    if (op === 'delete') return;
    this.#ours.add(uid);
    if (this.#ours.size > MAX_CONTACTS) this.#ours.delete(this.#ours.keys().next().value!);
  }
}

function moved(event: CotEvent, byMs: number): CotEvent {
  if (byMs === 0) return event;
  const { timeMs, startMs, staleMs } = event;
  return { ...event, timeMs: timeMs + byMs, startMs: startMs + byMs, staleMs: staleMs + byMs };
}
